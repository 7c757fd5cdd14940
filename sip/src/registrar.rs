//! The registrar (RFC 3261 section 10.3, with RFC 3327 and RFC 5626): a REGISTER, the bindings
//! before it and the time become the bindings after it, or a refusal that changes nothing. Who may
//! register for whom is judged before.

mod binding;
mod contact;

use std::cmp::Reverse;
use std::io::Write;

pub use binding::Binding;

use crate::flow::{Flow, canonical_ip};
use crate::limits::{BINDING_TEXT_MAX, PATHS_MAX, REQUEST_URI_MAX};
use crate::message::{HeaderName, Message, NameAddr, Via};
use crate::proxy::unknown_tags;
use crate::refusal::Refusal;
use crate::uri::{Host, Uri};
use contact::{Asked, Contact};

/// Option tags that a REGISTER may require of us (RFC 3327).
const EXTENSIONS: [&str; 1] = ["path"];

/// What a registration may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Seconds; a shorter life is refused with 423.
    pub min: u32,
    /// Seconds, where the request names none, or none that can be read.
    pub default: u32,
    /// Seconds; a longer life is cut to it.
    pub max: u32,
    /// Bindings of one address of record.
    pub contacts_max: usize,
}

/// What a REGISTER led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The whole new set: highest q first, then the newest.
    pub bindings: Vec<Binding>,
    /// Whether the request changed anything, so that the set must be stored.
    pub changed: bool,
    /// How many bindings the request removed or replaced by others; expired ones do not count.
    pub removed: usize,
    /// How many bindings are new, refreshed ones not counted.
    pub added: usize,
}

/// Applies a REGISTER to the bindings of its address of record. Those that have expired are
/// dropped first; without a Contact the rest comes back as it is.
///
/// A contact is known again by RFC 3261 section 19.1.4, or by instance and reg-id where both sides
/// have them (RFC 5626 section 6). A new one beyond `contacts_max` takes the place of an old one of
/// the same instance or flow.
///
/// # Errors
/// 420 for an extension that we lack; 400 for a bad Contact, Path or `*`, and for a CSeq that does
/// not grow within its Call-ID; 423 for too short a life; 403 for too many contacts.
pub fn register(
    request: Message<'_>,
    existing: &[Binding],
    flow: Flow,
    now_unix: u64,
    limits: &Limits,
) -> Result<Outcome, Refusal> {
    check_extensions(request)?;
    let live: Vec<Binding> =
        existing.iter().filter(|binding| binding.expires_at > now_unix).cloned().collect();
    match contact::read(request, limits)? {
        Asked::Nothing => Ok(Outcome { bindings: live, changed: false, removed: 0, added: 0 }),
        Asked::RemoveAll => remove_all(Order::of(request)?, &live),
        Asked::Contacts(contacts) => {
            let template = template(request, flow)?;
            let mut update = Update::new(template, live, limits.contacts_max);
            for contact in &contacts {
                update.apply(contact, now_unix)?;
            }
            update.finish()
        }
    }
}

/// Writes one Contact line for each binding that has not expired (RFC 3261 section 10.3, step 8).
pub fn write_contacts(out: &mut Vec<u8>, bindings: &[Binding], now_unix: u64) {
    for binding in bindings {
        let left = binding.expires_at.saturating_sub(now_unix);
        if left > 0 {
            write_contact(out, binding, left);
        }
    }
}

fn write_contact(out: &mut Vec<u8>, binding: &Binding, left: u64) {
    out.extend_from_slice(b"Contact: <");
    out.extend_from_slice(&binding.contact);
    // Writing into a Vec cannot fail.
    let _ = write!(out, ">;expires={left}");
    if binding.q < 1000 {
        let thousandths = format!("{:03}", binding.q);
        let digits = thousandths.trim_end_matches('0');
        let _ = write!(out, ";q=0.{}", if digits.is_empty() { "0" } else { digits });
    }
    if !binding.instance.is_empty() {
        out.extend_from_slice(b";+sip.instance=\"");
        out.extend_from_slice(&binding.instance);
        out.push(b'"');
    }
    if binding.reg_id > 0 {
        let _ = write!(out, ";reg-id={}", binding.reg_id);
    }
    out.extend_from_slice(b"\r\n");
}

/// Require and Proxy-Require (RFC 3261 sections 8.2.2.3 and 10.3, step 2).
fn check_extensions(request: Message<'_>) -> Result<(), Refusal> {
    let fields = [HeaderName::Require, HeaderName::ProxyRequire];
    let unknown = fields.map(|field| unknown_tags(request, field, &EXTENSIONS));
    let unknown: Vec<Vec<u8>> = unknown.into_iter().flatten().collect();
    if unknown.is_empty() { Ok(()) } else { Err(Refusal::BadExtension(unknown.join(&b", "[..]))) }
}

/// Call-ID and CSeq, which put the REGISTERs of one phone in order.
#[derive(Clone, Copy)]
struct Order<'a> {
    call_id: &'a [u8],
    cseq: u32,
}

impl<'a> Order<'a> {
    fn of(request: Message<'a>) -> Result<Self, Refusal> {
        let cseq = request.cseq().ok_or(Refusal::bad_request("Bad CSeq"))?.number;
        Ok(Self { call_id: request.call_id(), cseq })
    }

    /// Whether the binding was written by this request, or by one that was sent after it.
    fn is_overtaken_by(self, binding: &Binding) -> bool {
        binding.call_id == self.call_id && binding.cseq >= self.cseq
    }

    fn check(self, binding: &Binding) -> Result<(), Refusal> {
        let overtaken = self.is_overtaken_by(binding);
        if overtaken { Err(Refusal::bad_request("CSeq Out Of Order")) } else { Ok(()) }
    }
}

/// `Contact: *` (RFC 3261 section 10.3, step 6).
fn remove_all(order: Order<'_>, live: &[Binding]) -> Result<Outcome, Refusal> {
    live.iter().try_for_each(|binding| order.check(binding))?;
    let removed = live.len();
    Ok(Outcome { bindings: Vec::new(), changed: removed > 0, removed, added: 0 })
}

/// What all bindings of one request share.
fn template(request: Message<'_>, flow: Flow) -> Result<Binding, Refusal> {
    let order = Order::of(request)?;
    if order.call_id.len() > BINDING_TEXT_MAX {
        return Err(Refusal::bad_request("Call-ID Too Long"));
    }
    Ok(Binding {
        contact: Vec::new(),
        q: 1000,
        expires_at: 0,
        call_id: order.call_id.to_vec(),
        cseq: order.cseq,
        path: path(request)?,
        flow,
        instance: Vec::new(),
        reg_id: 0,
        user_agent: user_agent(request),
        allow: allow(request),
        via_is_source: request.via().is_some_and(|via| names_source(&via, &flow)),
    })
}

/// Path (RFC 3327 section 5.3), kept in order and as written.
fn path(request: Message<'_>) -> Result<Vec<Vec<u8>>, Refusal> {
    let mut path = Vec::new();
    for value in request.values(HeaderName::Path) {
        let address = NameAddr::parse(value).filter(|address| Uri::parse(address.uri).is_ok());
        if address.is_none() || value.len() > REQUEST_URI_MAX || path.len() == PATHS_MAX {
            return Err(Refusal::bad_request("Bad Path"));
        }
        path.push(value.to_vec());
    }
    Ok(path)
}

/// User-Agent on one line and no longer than it is worth.
fn user_agent(request: Message<'_>) -> Vec<u8> {
    let written = request.header(HeaderName::UserAgent).unwrap_or_default();
    let printable = |octet: &u8| if octet.is_ascii_control() { b' ' } else { *octet };
    written.iter().take(BINDING_TEXT_MAX).map(printable).collect()
}

/// The methods that the phone allows; empty, for everything, where it does not say, or too much.
fn allow(request: Message<'_>) -> Vec<u8> {
    let methods: Vec<&[u8]> = request.values(HeaderName::Allow).collect();
    let allow = methods.join(&b", "[..]);
    if allow.len() > BINDING_TEXT_MAX { Vec::new() } else { allow }
}

/// Whether the sender knows the address that we see it at: no NAT between us.
fn names_source(via: &Via<'_>, flow: &Flow) -> bool {
    let ip = match Host::parse(via.host) {
        Ok(Host::Ip(ip)) => Some(canonical_ip(ip)),
        Ok(Host::Name(_)) | Err(_) => None,
    };
    let port = via.port.unwrap_or(flow.transport.default_port());
    ip == Some(canonical_ip(flow.remote.ip())) && port == flow.remote.port()
}

/// A set of bindings in the middle of a REGISTER.
struct Update {
    /// What every binding of the request starts from.
    template: Binding,
    /// Bindings that the request has not touched.
    kept: Vec<Binding>,
    /// Bindings that the request wrote, and whether each is new.
    fresh: Vec<(Binding, bool)>,
    live: usize,
    contacts_max: usize,
}

impl Update {
    fn new(template: Binding, live: Vec<Binding>, contacts_max: usize) -> Self {
        let count = live.len();
        // More than the maximum may be there after it was lowered; they may be refreshed.
        let contacts_max = contacts_max.max(count);
        Self { template, kept: live, fresh: Vec::new(), live: count, contacts_max }
    }

    /// One Contact: removes, refreshes or adds (RFC 3261 section 10.3, step 7).
    fn apply(&mut self, contact: &Contact<'_>, now_unix: u64) -> Result<(), Refusal> {
        let order = order(&self.template);
        for binding in self.kept.iter().filter(|binding| contact.names(binding)) {
            order.check(binding)?;
        }
        let before = self.kept.len();
        self.kept.retain(|binding| !contact.names(binding));
        let mut new = self.kept.len() == before;
        // The same contact twice in one request: the last word counts.
        self.fresh.retain(|(binding, was_new)| {
            let named = contact.names(binding);
            new &= !named || *was_new;
            !named
        });
        if contact.expires > 0 {
            self.fresh.push((contact.binding(&self.template, now_unix), new));
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Outcome, Refusal> {
        self.make_room()?;
        let added = self.fresh.iter().filter(|(_, new)| *new).count();
        let changed = !self.fresh.is_empty() || self.kept.len() < self.live;
        let mut bindings: Vec<Binding> =
            self.fresh.into_iter().map(|(binding, _)| binding).chain(self.kept).collect();
        // Stable: within one q the newest stay in front.
        bindings.sort_by_key(|binding| Reverse(binding.q));
        let removed = (self.live + added).saturating_sub(bindings.len());
        Ok(Outcome { bindings, changed, removed, added })
    }

    /// New contacts beyond the maximum take the places of those that they have probably replaced.
    fn make_room(&mut self) -> Result<(), Refusal> {
        while self.kept.len() + self.fresh.len() > self.contacts_max {
            let replaced = self.fresh.iter().filter(|(_, new)| *new);
            let victim = replaced.filter_map(|(new, _)| self.predecessor(new)).next();
            self.kept.remove(victim.ok_or(Refusal::TooManyContacts)?);
        }
        Ok(())
    }

    /// The oldest binding of the same instance, or else of the same flow.
    fn predecessor(&self, new: &Binding) -> Option<usize> {
        let order = order(&self.template);
        let oldest = |replaces: fn(&Binding, &Binding) -> bool| {
            self.kept.iter().rposition(|old| replaces(new, old) && !order.is_overtaken_by(old))
        };
        oldest(Binding::is_same_instance).or_else(|| oldest(Binding::is_same_flow))
    }
}

fn order(template: &Binding) -> Order<'_> {
    Order { call_id: &template.call_id, cseq: template.cseq }
}

#[cfg(test)]
mod tests;
