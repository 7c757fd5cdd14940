//! Where a new request may go: the relay rules applied to a local user, a foreign one, or a
//! telephone number (R8 to R18).

use std::fmt;
use std::net::SocketAddr;

use rempart_sip::flow::Transport;
use rempart_sip::message::Method;
use rempart_sip::proxy::Routed;
use rempart_sip::refusal::Refusal;
use rempart_sip::registrar::Binding;
use rempart_sip::seal::RouteClass;
use rempart_sip::uri::{Aor, Host, Scheme, Uri};

use super::answer::forms_dialog;
use super::classify::parse;
use super::secure::is_sips;
use super::{Arrival, Router};
use crate::clock::now_unix;
use crate::egress;
use crate::policy::{Callee, Caller, allow};
use crate::relay::{Hop, Plan, Target};
use crate::settings::Settings;

/// Whom a Request-URI names.
enum Named {
    User(Aor),
    Number(String),
    Foreign,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(aor) => write!(f, "local target {aor}"),
            Self::Number(number) => write!(f, "telephone number {number}"),
            Self::Foreign => f.write_str("foreign target"),
        }
    }
}

impl Router {
    /// Decides on a request of a known caller that carries no valid seal.
    pub(super) fn plan(&self, arrival: &Arrival<'_>, caller: &Caller) -> Result<Plan, Refusal> {
        let in_dialog = arrival.message.to_tag().is_some();
        self.plan_new(arrival, caller).map_err(|refusal| match refusal {
            Refusal::NotFound
            | Refusal::Unavailable
            | Refusal::NoSecureWay
            | Refusal::AddressIncomplete
            | Refusal::EgressDenied
            | Refusal::Unresolved
                if in_dialog =>
            {
                Refusal::NoSuchTransaction
            }
            other => other,
        })
    }

    fn plan_new(&self, arrival: &Arrival<'_>, caller: &Caller) -> Result<Plan, Refusal> {
        let settings = self.shared.settings();
        let routed = self.routed(arrival.message, &settings)?;
        let uri = parse(routed.request_uri)?;
        let named = self.named(&uri, &settings)?;
        self.rule("relay", format_args!("{caller}, {named}"));
        allow(caller, callee(&named), &arrival.flow)?;
        if matches!(arrival.message.method(), Method::Publish) && !matches!(named, Named::Foreign) {
            return Err(Refusal::NotHere);
        }
        let mut plan = self.plan_of(arrival, &routed)?;
        plan.caller_local = matches!(caller, Caller::Local(_));
        plan.caller_peer = matches!(caller, Caller::Trusted { .. });
        plan.record_route =
            forms_dialog(arrival.message.method()) && arrival.message.to_tag().is_none();
        match self.by_route(&routed, caller, &settings)? {
            Some(target) => plan.add_foreign(target),
            None => self.by_name(arrival, caller, &mut plan, (&named, &uri), &settings)?,
        }
        plan.keep_secure(matches!(uri.scheme, Scheme::Sips))?;
        Ok(plan)
    }

    fn by_name(
        &self,
        arrival: &Arrival<'_>,
        caller: &Caller,
        plan: &mut Plan,
        (named, uri): (&Named, &Uri<'_>),
        settings: &Settings,
    ) -> Result<(), Refusal> {
        match named {
            Named::User(aor) => {
                plan.class = RouteClass::Local;
                let secure = matches!(uri.scheme, Scheme::Sips) || settings.require_tls.covers(aor);
                let callees = self.callees(arrival, caller, aor, secure, settings)?;
                let at_once = plan.breadth as usize;
                plan.groups.extend(callees.iter().flat_map(|group| within(group, at_once)));
            }
            Named::Number(number) => {
                plan.class = RouteClass::Gateway;
                plan.by_gateways = true;
                let gateways = self.gateway_targets(number, settings);
                plan.groups.extend(gateways.into_iter().map(|target| vec![target]));
            }
            Named::Foreign => {
                let target = foreign_target(uri, settings);
                plan.add_foreign(target.inspect_err(|_| self.rule_egress(uri, settings))?);
            }
        }
        let empty = plan.groups.is_empty();
        if empty { Err(Refusal::NotFound) } else { Ok(()) }
    }

    fn named(&self, uri: &Uri<'_>, settings: &Settings) -> Result<Named, Refusal> {
        let local = settings.names.domain_of_uri(uri).is_some();
        if !local && !matches!(uri.scheme, Scheme::Tel) {
            return Ok(Named::Foreign);
        }
        let user = uri.user_unescaped().filter(|user| !user.is_empty());
        let user = user.ok_or(Refusal::AddressIncomplete)?;
        let aor = settings.names.aor(uri).filter(|aor| self.shared.accounts.knows(aor));
        if let Some(aor) = aor {
            return Ok(Named::User(aor));
        }
        let numbers = !settings.pstn.gateways.is_empty() && settings.pstn.numbers.is_match(&user);
        if numbers && let Some(number) = international(&user) {
            return Ok(Named::Number(number));
        }
        settings.names.aor(uri).map(Named::User).ok_or(Refusal::NotFound)
    }

    /// Preloaded Routes beyond ourselves: a local caller's are stripped, a foreign one's refused,
    /// a configured peer is honoured.
    fn by_route(
        &self,
        routed: &Routed<'_>,
        caller: &Caller,
        settings: &Settings,
    ) -> Result<Option<Target>, Refusal> {
        let Some(first) = routed.routes.first() else { return Ok(None) };
        match caller {
            Caller::Local(_) => Ok(None),
            Caller::Foreign => Err(Refusal::PreloadedRoute),
            Caller::Trusted { .. } => {
                let uri = rempart_sip::message::NameAddr::parse(first);
                let uri = parse(uri.ok_or(Refusal::bad_request("Bad Route"))?.uri)?;
                let hop = hop_of(&uri);
                let known = match hop {
                    Hop::Address(_, to) => self.shared.trusted().names(to.ip()),
                    _ => false,
                } || is_gateway(&uri, settings);
                Ok(known.then(|| Target { peer: true, ..Target::by(hop) }))
            }
        }
    }

    /// The bindings of a local user, best q first (RFC 3261 section 16.6, step 6).
    fn callees(
        &self,
        arrival: &Arrival<'_>,
        caller: &Caller,
        aor: &Aor,
        secure: bool,
        settings: &Settings,
    ) -> Result<Vec<Vec<Target>>, Refusal> {
        let mut bindings = self.shared.location.bindings(aor, now_unix());
        self.rule("location", format_args!("bindings of {aor}: {}", bindings.len()));
        if bindings.is_empty() || !self.shared.accounts.knows(aor) {
            return Err(self.nobody(caller, aor));
        }
        let method = arrival.message.method();
        bindings.retain(|binding| binding.allows(method.as_bytes()));
        if bindings.is_empty() {
            return Err(Refusal::MethodNotAllowed);
        }
        bindings.retain(|binding| !secure || is_secure(binding, settings));
        if bindings.is_empty() {
            self.rule("tls", format_args!("no binding of {aor} is for TLS"));
            return Err(match self.nobody(caller, aor) {
                Refusal::Unavailable => Refusal::NoSecureWay,
                unknown => unknown,
            });
        }
        Ok(bindings
            .chunk_by(|one, other| one.q == other.q)
            .map(|group| group.iter().map(|binding| contact_target(binding, settings)).collect())
            .collect())
    }

    /// I7: to a stranger an absent user and an unknown one look alike.
    fn nobody(&self, caller: &Caller, aor: &Aor) -> Refusal {
        let insider = !matches!(caller, Caller::Foreign);
        match insider && self.shared.accounts.knows(aor) {
            true => Refusal::Unavailable,
            false => Refusal::NotFound,
        }
    }

    fn rule_egress(&self, uri: &Uri<'_>, settings: &Settings) {
        if let Hop::Address(_, to) = hop_of(uri) {
            self.rule("egress", format_args!("{to} is {}", egress::denied(settings, to)));
        }
    }
}

impl Plan {
    fn add_foreign(&mut self, target: Target) {
        self.class = RouteClass::Foreign;
        self.routes_kept = target.peer && target.request_uri.is_none();
        self.groups.push_back(vec![target]);
    }

    /// What is for sips goes over TLS, or nowhere (RFC 5630 section 5.3): the request as it came,
    /// and as it would go on.
    fn keep_secure(&mut self, sips: bool) -> Result<(), Refusal> {
        let keeps = |target: &Target| {
            let asked = sips || target.request_uri.as_deref().is_some_and(is_sips);
            !asked || target.hop.transport() == Transport::Tls
        };
        self.groups.iter_mut().for_each(|group| group.retain(keeps));
        self.groups.retain(|group| !group.is_empty());
        if self.groups.is_empty() { Err(Refusal::NoSecureWay) } else { Ok(()) }
    }
}

/// Targets of one q that the breadth does not let ring together ring one after the other
/// (RFC 5393 section 5.3.3).
fn within(group: &[Target], at_once: usize) -> impl Iterator<Item = Vec<Target>> + '_ {
    group.chunks(at_once.max(1)).map(<[Target]>::to_vec)
}

fn callee(named: &Named) -> Callee {
    match named {
        Named::User(_) => Callee::Local,
        Named::Number(_) => Callee::Pstn,
        Named::Foreign => Callee::Foreign,
    }
}

/// 00 becomes +; the rest of the number stays.
fn international(user: &[u8]) -> Option<String> {
    let number = std::str::from_utf8(user).ok()?;
    Some(match number.strip_prefix("00") {
        Some(rest) => format!("+{rest}"),
        None => number.to_owned(),
    })
}

fn foreign_target(uri: &Uri<'_>, settings: &Settings) -> Result<Target, Refusal> {
    let outbound = settings.outbound.as_deref().and_then(|it| Uri::parse(it.as_bytes()).ok());
    let peer = outbound.is_some() || is_gateway(uri, settings);
    let hop = hop_of(outbound.as_ref().unwrap_or(uri));
    if let (Hop::Address(_, to), false) = (&hop, peer) {
        egress::check(settings, *to)?;
    }
    Ok(Target { peer, ..Target::by(hop) })
}

fn is_gateway(uri: &Uri<'_>, settings: &Settings) -> bool {
    let there = hop_of(uri);
    settings.pstn.gateways.iter().any(|gateway| {
        Uri::parse(gateway.uri.as_bytes()).is_ok_and(|gateway| hop_of(&gateway) == there)
    })
}

/// RFC 3263 as far as the URI itself tells: transport, host, port.
pub(super) fn hop_of(uri: &Uri<'_>) -> Hop {
    let secure = matches!(uri.scheme, Scheme::Sips);
    let named = uri.transport().and_then(Transport::parse);
    let transport = if secure { Transport::Tls } else { named.unwrap_or(Transport::Udp) };
    let port = uri.port.unwrap_or(transport.default_port());
    match uri.host_canonical() {
        Ok(Host::Ip(ip)) => Hop::Address(transport, SocketAddr::new(ip, port)),
        Ok(Host::Name(name)) => Hop::Name(transport, name, port),
        Err(_) => Hop::Name(transport, String::new(), port),
    }
}

/// Whether a binding is reached over TLS to its end: its flow or its contact's address is TLS, and
/// the contact asks for nothing else, behind an edge proxy neither.
fn is_secure(binding: &Binding, settings: &Settings) -> bool {
    let Ok(contact) = Uri::parse(&binding.contact) else { return false };
    let named = matches!(contact.scheme, Scheme::Sips) || contact.transport().is_some();
    let asks = hop_of(&contact).transport() == Transport::Tls;
    let to_the_end = if named { asks } else { binding.path.is_empty() };
    to_the_end && contact_target(binding, settings).hop.transport() == Transport::Tls
}

/// A contact that is its own source, or that nobody could reach, or behind a NAT, is reached by
/// the flow that registered; so is one by name, which would need a look-up per call, and one that
/// registered over TLS, which the address would not prove.
fn contact_target(binding: &Binding, settings: &Settings) -> Target {
    let own_flow = Hop::Flow(binding.flow);
    let hop = match Uri::parse(&binding.contact).map(|uri| hop_of(&uri)) {
        Ok(Hop::Address(transport, to))
            if binding.flow.transport != Transport::Tls
                && binding.via_is_source
                && binding.path.is_empty()
                && !egress::needs_flow(settings, to, &binding.flow) =>
        {
            Hop::Address(transport, to)
        }
        _ => own_flow,
    };
    Target {
        request_uri: Some(binding.contact.clone()),
        path: binding.path.clone(),
        local: true,
        ..Target::by(hop)
    }
}
