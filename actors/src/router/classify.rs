//! What kind of request is it, and whose? The order of the questions is the price of their
//! answers: our own OPTIONS, sealed dialogs, trusted sources, strangers, and only then passwords.

use rempart_sip::message::{HeaderName, Message, Method};
use rempart_sip::proxy::{Routed, preprocess};
use rempart_sip::refusal::Refusal;
use rempart_sip::transaction::TransactionKey;
use rempart_sip::uri::{Aor, Host, Uri};

use super::authenticate::Then;
use super::{Arrival, Router};
use crate::decisions::{Outcome, Verdict, Who};
use crate::policy::Caller;
use crate::settings::Settings;
use crate::trusted::Reaches;

/// What is to be done with a request.
enum Step {
    /// Our own keep-alive (RFC 3261 section 11).
    KeepAlive,
    /// It carries a valid seal: it goes to the dialog's other side.
    Dialog(Box<crate::relay::Plan>),
    /// A local user must show who he is first (R13).
    Prove(Aor, Then),
    /// His certificate has shown it already.
    Certified(Aor, Then),
    /// The caller is known as far as he ever will be.
    Route(Caller),
}

impl Router {
    /// Decides on a new request.
    pub(super) fn classify(&mut self, arrival: &Arrival<'_>, key: TransactionKey) {
        match self.step(arrival) {
            Ok(Step::KeepAlive) => self.keep_alive(arrival),
            Ok(Step::Dialog(plan)) => self.admit_and_relay(arrival, key, *plan, Who::Known),
            Ok(Step::Prove(aor, then)) => self.authenticate(arrival, key, aor, then),
            Ok(Step::Certified(aor, then)) => self.go_on_certified(arrival, key, aor, then),
            Ok(Step::Route(caller)) => match self.plan(arrival, &caller) {
                Ok(plan) => self.admit_and_relay(arrival, key, plan, caller.who()),
                Err(refusal) => self.refuse(arrival, &refusal),
            },
            Err(refusal) => self.refuse(arrival, &refusal),
        }
    }

    fn keep_alive(&mut self, arrival: &Arrival<'_>) {
        let (verdict, reason) = (Verdict::Answered, "keep-alive");
        self.tell(arrival, Outcome { verdict, reason, status: 200 });
        self.answer(arrival, 200, "Keepalive", &[]);
    }

    fn step(&mut self, arrival: &Arrival<'_>) -> Result<Step, Refusal> {
        let settings = self.shared.settings();
        let message = arrival.message;
        let routed = self.routed(message, &settings)?;
        if let Some(plan) = self.dialog_plan(arrival, &routed)? {
            self.rule("dialog", format_args!("a valid seal of ours names the other side"));
            return Ok(Step::Dialog(Box::new(plan)));
        }
        let uri = parse(routed.request_uri)?;
        let session = self.check_security(arrival, &uri, &settings)?;
        let to_self = settings.names.domain_of_uri(&uri).is_some();
        if to_self && uri.user.is_none() && matches!(message.method(), Method::Options) {
            return Ok(Step::KeepAlive);
        }
        let step = match matches!(message.method(), Method::Register) && to_self {
            true => registrar_step(message, &settings)?,
            false => self.caller_step(arrival, &settings)?,
        };
        Ok(match step {
            Step::Prove(aor, then)
                if self.is_certified(arrival, session.as_deref(), &aor, &settings) =>
            {
                Step::Certified(aor, then)
            }
            step => step,
        })
    }

    /// R19 to R21: a listed source first; R13: a local From must prove itself; R16: the rest is
    /// foreign.
    fn caller_step(&self, arrival: &Arrival<'_>, settings: &Settings) -> Result<Step, Refusal> {
        let from = from_uri(arrival.message)?;
        let local = settings.names.domain_of_uri(&from).is_some();
        let trusted = self.shared.trusted();
        if !matches!(arrival.message.method(), Method::Register)
            && let Some(entry) = trusted.find(&arrival.flow)
        {
            self.rule("trusted", format_args!("entry {} may {}", entry.net, Reaches(&entry.may)));
            let entry = Box::new(entry.clone());
            return Ok(Step::Route(Caller::Trusted { entry, local_from: local }));
        }
        self.rule("trusted", format_args!("no entry for {}", arrival.flow.remote.ip()));
        if !local {
            let host = String::from_utf8_lossy(from.host);
            self.rule("caller", format_args!("foreign: {host} is no domain of ours"));
            return Ok(Step::Route(Caller::Foreign));
        }
        let aor = settings.names.aor(&from).ok_or(Refusal::bad_request("Bad From"))?;
        self.rule("caller", format_args!("local: {aor} must prove himself"));
        Ok(Step::Prove(aor, Then::Route))
    }

    /// Route values of ours are taken off; a Request-URI that a strict router hid is found again.
    pub(super) fn routed<'a>(
        &self,
        message: Message<'a>,
        settings: &Settings,
    ) -> Result<Routed<'a>, Refusal> {
        let is_ours = |uri: &[u8]| Uri::parse(uri).is_ok_and(|uri| is_ours(&uri, settings));
        preprocess(message.request_uri(), message.values(HeaderName::Route), is_ours)
    }
}

/// The registrar's own checks of whom a REGISTER is for; From equal To is judged with the
/// credentials.
fn registrar_step(message: Message<'_>, settings: &Settings) -> Result<Step, Refusal> {
    let to = message.to().ok_or(Refusal::bad_request("Bad To"))?;
    let to = parse(to.uri)?;
    if settings.names.domain_of_uri(&to).is_none() {
        return Err(Refusal::NotFound);
    }
    let aor = settings.names.aor(&to).ok_or(Refusal::NotFound)?;
    Ok(Step::Prove(aor, Then::Register))
}

fn is_ours(uri: &Uri<'_>, settings: &Settings) -> bool {
    settings.names.is_listener(uri, |host, port| advertised(host, port, settings))
}

fn advertised(host: &Host, port: u16, settings: &Settings) -> bool {
    let names = settings.listeners.iter().filter_map(|listener| {
        listener.advertise.as_deref().map(|name| (name, listener.address.port()))
    });
    names.into_iter().any(|(name, listening)| {
        let text = format!("sip:{name}");
        let Ok(uri) = Uri::parse(text.as_bytes()) else { return false };
        uri.port.unwrap_or(listening) == port && uri.host_canonical().is_ok_and(|it| it == *host)
    })
}

/// A URI that must be one.
pub(super) fn parse(text: &[u8]) -> Result<Uri<'_>, Refusal> {
    Uri::parse(text).map_err(|bad| Refusal::bad_request(bad.reason))
}

/// The URI in From.
pub(super) fn from_uri(message: Message<'_>) -> Result<Uri<'_>, Refusal> {
    let from = message.from().ok_or(Refusal::bad_request("Bad From"))?;
    parse(from.uri)
}
