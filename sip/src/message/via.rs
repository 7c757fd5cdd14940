//! Via values: where a request came through (RFC 3261 section 20.42).

use super::octets::{digits, find, is_lws, is_token, trim_start};
use super::params::Params;

/// One Via value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// Transport token as written: `UDP`.
    pub transport: &'a [u8],
    /// Host of the sent-by as written, brackets of an IPv6 address kept.
    pub host: &'a [u8],
    /// Port of the sent-by where it is given.
    pub port: Option<u16>,
    /// Everything after the sent-by.
    pub params: Params<'a>,
    /// The branch, without which a request is matched as in RFC 2543.
    pub branch: Option<&'a [u8]>,
}

impl<'a> Via<'a> {
    /// Reads one value; white space may stand round each part. None: not SIP, no host, or a bad
    /// port. The version may be any token, so that the sender of another one gets his 505.
    pub fn parse(value: &'a [u8]) -> Option<Self> {
        let (name, rest) = before_slash(value)?;
        let (_version, rest) = before_slash(rest)?;
        let (transport, rest) = token(rest)?;
        let (host, rest) = host(rest)?;
        let (port, rest) = port(rest)?;
        let params = Params::new(rest);
        let branch = params.get("branch").filter(|branch| !branch.is_empty());
        let is_sip = name.eq_ignore_ascii_case(b"SIP");
        is_sip.then_some(Via { transport, host, port, params, branch })
    }

    /// Host and port the sender says it is at; port None where not given.
    pub fn sent_by(&self) -> (&'a [u8], Option<u16>) {
        (self.host, self.port)
    }
}

fn before_slash(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, rest) = token(text)?;
    Some((found, rest.strip_prefix(b"/")?))
}

/// A token with white space round it, and what follows.
fn token(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = trim_start(text);
    let end = text.iter().position(|o| !is_token(*o)).unwrap_or(text.len());
    let (token, rest) = text.split_at(end);
    (end > 0).then_some((token, trim_start(rest)))
}

fn host(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = match text.first()? {
        b'[' => find(text, b']')? + 1,
        _ => text.iter().position(|o| is_lws(*o) || matches!(o, b':' | b';')).unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(end);
    is_host(host).then_some((host, trim_start(rest)))
}

fn is_host(host: &[u8]) -> bool {
    let ok = |o: &u8| o.is_ascii_alphanumeric() || matches!(o, b'.' | b'-' | b'_');
    match host {
        [b'[', inside @ .., b']'] => {
            inside.iter().all(|o| o.is_ascii_hexdigit() || matches!(o, b':' | b'.'))
        }
        _ => !host.is_empty() && host.iter().all(ok),
    }
}

/// The port where there is one, and the parameters.
fn port(text: &[u8]) -> Option<(Option<u16>, &[u8])> {
    let Some(text) = text.strip_prefix(b":").map(trim_start) else {
        return is_end(text).then_some((None, text));
    };
    let end = text.iter().position(|o| !o.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let port = u16::try_from(digits(number)?).ok().filter(|port| *port > 0)?;
    let rest = trim_start(rest);
    is_end(rest).then_some((Some(port), rest))
}

fn is_end(rest: &[u8]) -> bool {
    matches!(rest.first(), None | Some(b';'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_may_stand_everywhere() {
        let via = Via::parse(b"SIP  / 2.0\r\n /UDP\r\n    192.0.2.2 : 5062 ; branch = 390skdjuw");
        let via = via.expect("a good test message");
        assert_eq!(via.transport, b"UDP");
        assert_eq!(via.sent_by(), (&b"192.0.2.2"[..], Some(5062)));
        assert_eq!(via.branch, Some(&b"390skdjuw"[..]));
    }

    #[test]
    fn ipv6_keeps_its_brackets() {
        let via = Via::parse(b"SIP/2.0/TLS [2001:db8::9:1]:5061;rport;branch=z9hG4bKas3")
            .expect("a good test message");
        assert_eq!(via.host, b"[2001:db8::9:1]");
        assert_eq!(via.port, Some(5061));
        assert_eq!(via.params.get("rport"), Some(&b""[..]));
    }

    #[test]
    fn unusable_values_are_refused() {
        let values = ["", "SIP/2.0/UDP", "HTTP/2.0/UDP h", "SIP/2.0/UDP h:0"];
        let more = ["SIP/2.0/UDP h:99999", "SIP/2.0/UDP h x", "SIP/2.0/UDP ;branch=1", ";"];
        for value in values.iter().chain(&more) {
            assert_eq!(Via::parse(value.as_bytes()), None, "{value}");
        }
    }
}
