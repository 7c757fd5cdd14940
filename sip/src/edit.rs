//! Forwarding and answering as span edits into the caller's reused buffer.
//!
//! What is not edited is copied as it came, folds, odd spacing and binary bodies included: nobody
//! downstream sees another message than the one we judged.

mod reply;
mod runs;
mod via;

pub use reply::{InDialog, Reply, ack_failure, cancel, in_dialog, reply};
pub(crate) use runs::{put, put_field};

use crate::message::index::Line;
use crate::message::{HeaderName, Message};
use runs::Runs;
use std::net::SocketAddr;

/// What happens to the Route set of a forwarded request (RFC 3261 section 16.4 and 16.6).
#[derive(Clone, Copy, Debug)]
pub enum Routes<'a> {
    /// The request's own, without its first `skip` values, and with one more in front.
    Keep {
        /// How many values are removed from the front.
        skip: usize,
        /// A value, angle brackets included, to stand first.
        push: Option<&'a [u8]>,
    },
    /// These values, brackets included, instead of the request's own.
    Replace(&'a [Vec<u8>]),
}

/// The edits that make the request we send out of the one we got (RFC 3261 section 16.6).
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// New Request-URI; None keeps the start line as it is.
    pub request_uri: Option<&'a [u8]>,
    /// Our Via value: `SIP/2.0/UDP host:port;branch=..`.
    pub via: &'a [u8],
    /// Where the request came from, for `received` and `rport` of the Via below ours.
    pub received: Option<SocketAddr>,
    /// Record-Route values, brackets included, in the order they shall stand.
    pub record_routes: &'a [Vec<u8>],
    /// The Route set.
    pub routes: Routes<'a>,
    /// New Max-Forwards, added where there was none.
    pub max_forwards: u8,
    /// Names whose lines are left out.
    pub remove: &'a [HeaderName],
    /// Header fields put at the end.
    pub add: &'a [(&'a str, &'a [u8])],
}

/// Writes the forwarded request into `out`, which is cleared first. Untouched header fields and
/// the body stay octet for octet; Content-Length is added or corrected.
pub fn forward_request(out: &mut Vec<u8>, request: Message<'_>, forward: &Forward<'_>) {
    out.clear();
    let mut runs = Runs::new(out, request, request.body());
    request_line(&mut runs, request, forward.request_uri);
    runs.field("Via", forward.via);
    forward.record_routes.iter().for_each(|value| runs.field("Record-Route", value));
    new_routes(&mut runs, &forward.routes);
    if !request.index().has(HeaderName::MaxForwards) {
        runs.max_forwards(forward.max_forwards);
    }
    let mut edit = RequestEdit { forward, skip: skipped(&forward.routes), via_seen: false };
    for line in request.index().lines() {
        edit.line(&mut runs, line);
    }
    forward.add.iter().for_each(|(name, value)| runs.field(name, value));
    runs.finish();
}

fn request_line(runs: &mut Runs<'_, '_>, request: Message<'_>, uri: Option<&[u8]>) {
    let Some(uri) = uri else { return runs.keep_start_line() };
    runs.write(&[request.method().as_bytes(), b" ", uri, b" SIP/2.0\r\n"]);
}

fn new_routes(runs: &mut Runs<'_, '_>, routes: &Routes<'_>) {
    match routes {
        Routes::Keep { push, .. } => push.iter().for_each(|value| runs.field("Route", value)),
        Routes::Replace(values) => values.iter().for_each(|value| runs.field("Route", value)),
    }
}

fn skipped(routes: &Routes<'_>) -> usize {
    match routes {
        Routes::Keep { skip, .. } => *skip,
        Routes::Replace(_) => usize::MAX,
    }
}

/// What is still to be done while the request's lines pass by.
struct RequestEdit<'f> {
    forward: &'f Forward<'f>,
    /// Route values still to be removed.
    skip: usize,
    via_seen: bool,
}

impl RequestEdit<'_> {
    fn line(&mut self, runs: &mut Runs<'_, '_>, line: &Line) {
        match line.id {
            id if self.forward.remove.contains(&id) => {}
            HeaderName::Route if self.skip > 0 => self.skip = runs.without_first(line, self.skip),
            HeaderName::Via if !self.via_seen => self.previous_via(runs, line),
            HeaderName::MaxForwards => runs.max_forwards(self.forward.max_forwards),
            _ => runs.keep(line),
        }
    }

    fn previous_via(&mut self, runs: &mut Runs<'_, '_>, line: &Line) {
        self.via_seen = true;
        match self.forward.received {
            Some(source) if via::differs(runs.value(line), source) => {
                let value = runs.value(line);
                runs.replace(line, |out| via::write(out, value, source));
            }
            _ => runs.keep(line),
        }
    }
}

/// Writes the response for the next hop into `out`, which is cleared first: the topmost Via value
/// is gone (RFC 3261 section 16.7 item 3), also out of a comma list. A `status` other than the
/// response's own makes a bare response of it: no body, no description of one, no challenge.
pub fn forward_response(out: &mut Vec<u8>, response: Message<'_>, status: Option<(u16, &str)>) {
    out.clear();
    let body = if status.is_some() { b"" } else { response.body() };
    let mut runs = Runs::new(out, response, body);
    match status {
        Some((status, reason)) => runs.status_line(status, reason),
        None => runs.keep_start_line(),
    }
    let mut vias = 1;
    for line in response.index().lines() {
        match line.id {
            HeaderName::Via if vias > 0 => vias = runs.without_first(line, vias),
            _ if status.is_some() && goes_with_the_old_status(&runs, line) => {}
            _ => runs.keep(line),
        }
    }
    runs.finish();
}

fn goes_with_the_old_status(runs: &Runs<'_, '_>, line: &Line) -> bool {
    use HeaderName::{ContentType, Other, ProxyAuthenticate, WwwAuthenticate};
    let describes_body = || {
        let name = runs.name(line);
        let content = name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case(b"Content-"));
        content || name.eq_ignore_ascii_case(b"e")
    };
    match line.id {
        ContentType | ProxyAuthenticate | WwwAuthenticate => true,
        Other => describes_body(),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
