//! What TLS proved of the sender of a request, and what does not go without TLS (R41 to R43, R49,
//! R50; RFC 5630).

use std::sync::Arc;

use rempart_sip::flow::Transport;
use rempart_sip::message::Method;
use rempart_sip::refusal::Refusal;
use rempart_sip::transaction::TransactionKey;
use rempart_sip::uri::{Aor, Scheme, Uri};

use super::authenticate::Then;
use super::classify::{from_uri, parse};
use super::credentials::names_himself;
use super::{Arrival, Router};
use crate::decisions::Who;
use crate::identity::{CertificateMatch, Identity, Session};
use crate::names::Names;
use crate::policy::Caller;
use crate::settings::Settings;

impl Router {
    /// Whether a request outside dialogs may come as it came; what was agreed on where that was
    /// over TLS.
    ///
    /// # Errors
    ///
    /// `403 TLS required`, or `403 User id mismatch` (R50).
    pub(super) fn check_security(
        &self,
        arrival: &Arrival<'_>,
        uri: &Uri<'_>,
        settings: &Settings,
    ) -> Result<Option<Arc<Session>>, Refusal> {
        if arrival.flow.transport != Transport::Tls {
            return self.check_plain(arrival, uri, settings).map(|()| None);
        }
        let Some(session) = self.outbox.session(&arrival.flow) else {
            // Nobody knows any more what its sender had to prove, and nobody hears the answer.
            let gone = !self.outbox.is_open(&arrival.flow);
            return if gone { Err(Refusal::NextHopFailed) } else { Ok(None) };
        };
        self.rule_session(&session);
        let Some(asked) = session.must_match else { return Ok(Some(session)) };
        match bears(asked, session.peer.as_deref(), &from_uri(arrival.message)?, &settings.names) {
            true => Ok(Some(session)),
            false => {
                self.rule("certificate", format_args!("is not for the user in From"));
                Err(Refusal::UserIdMismatch)
            }
        }
    }

    /// RFC 5630, and the owner's list (R43). A trusted address shows no user: it is bound to a
    /// transport in its own entry.
    fn check_plain(
        &self,
        arrival: &Arrival<'_>,
        uri: &Uri<'_>,
        settings: &Settings,
    ) -> Result<(), Refusal> {
        let transport = arrival.flow.transport;
        if matches!(uri.scheme, Scheme::Sips) {
            self.rule("tls", format_args!("a request for sips came by {transport}"));
            return Err(Refusal::TlsRequired);
        }
        if settings.require_tls.is_empty() {
            return Ok(());
        }
        let register = matches!(arrival.message.method(), Method::Register);
        let named = match arrival.message.to().filter(|_| register) {
            Some(to) => parse(to.uri)?,
            None => from_uri(arrival.message)?,
        };
        let aor = settings.names.aor(&named).filter(|aor| settings.require_tls.covers(aor));
        match aor {
            Some(aor) if register || self.shared.trusted().find(&arrival.flow).is_none() => {
                self.rule("tls", format_args!("{aor} is in tls.require_tls, not for {transport}"));
                Err(Refusal::TlsRequired)
            }
            _ => Ok(()),
        }
    }

    fn rule_session(&self, session: &Session) {
        let Some(peer) = &session.peer else {
            return self.rule("tls", format_args!("no certificate, {}", session.profile));
        };
        let verified = if peer.verified { "verified" } else { "not verified" };
        let cn = peer.subject_cn.as_deref().unwrap_or("none");
        let fingerprint = Digits(&peer.fingerprint);
        self.rule("tls", format_args!("{verified}, fingerprint {fingerprint}, CN {cn}"));
        let Identity { san_uri, san_dns, issuer, serial, .. } = &**peer;
        let names = san_uri.first().or(san_dns.first()).map_or("none", String::as_str);
        self.rule("tls-names", format_args!("SAN {names}, serial {serial}, issuer {issuer}"));
    }

    /// Whether the certificate stands in for the password of this user: the owner says so, and an
    /// authority of his wrote the whole address of record into it.
    pub(super) fn is_certified(
        &self,
        arrival: &Arrival<'_>,
        session: Option<&Session>,
        aor: &Aor,
        settings: &Settings,
    ) -> bool {
        let Some(session) = session.filter(|session| session.as_digest) else { return false };
        let peer = session.peer.as_deref().filter(|peer| peer.verified);
        let certified = peer.is_some_and(|peer| is_for(peer, aor, &settings.names))
            && names_himself(arrival.message, aor, settings)
            && self.shared.accounts.knows(aor);
        if certified {
            self.rule("tls", format_args!("the certificate stands in for the password of {aor}"));
        }
        certified
    }

    /// Goes on with a request whose user is proven by his certificate.
    pub(super) fn go_on_certified(
        &mut self,
        arrival: &Arrival<'_>,
        key: TransactionKey,
        aor: Aor,
        then: Then,
    ) {
        match then {
            Then::Register if !self.transactions.has_room() => {
                self.refuse(arrival, &Refusal::Overloaded);
            }
            Then::Register => {
                let mut transaction = self.arrived(arrival);
                transaction.note = Some(self.tell_open(Who::Known, arrival));
                self.register(key, transaction, aor);
            }
            Then::Route => match self.plan(arrival, &Caller::Local(aor)) {
                Ok(plan) => self.admit_and_relay(arrival, key, plan, Who::Known),
                Err(refusal) => self.refuse(arrival, &refusal),
            },
        }
    }
}

/// Whether a certificate bears the identity in From (R50). Names are compared whole and octet by
/// octet; what is missing, empty or holds a control character is nobody's.
fn bears(asked: CertificateMatch, peer: Option<&Identity>, from: &Uri<'_>, names: &Names) -> bool {
    let Some(peer) = peer.filter(|peer| peer.verified) else { return false };
    let user = from.user_unescaped().unwrap_or_default();
    if user.is_empty() || user.iter().any(u8::is_ascii_control) {
        return false;
    }
    match asked {
        CertificateMatch::FromUser => {
            peer.subject_cn.as_deref().is_some_and(|name| name.as_bytes() == user)
        }
        CertificateMatch::FromAor => {
            canonical(from, names).is_some_and(|aor| is_for(peer, &aor, names))
        }
    }
}

/// Whether a subject alternative name of the certificate is `sip:user@domain` of this user.
fn is_for(peer: &Identity, aor: &Aor, names: &Names) -> bool {
    peer.san_uri.iter().any(|name| {
        let Ok(uri) = Uri::parse(name.as_bytes()) else { return false };
        let bare = uri.port.is_none()
            && uri.password.is_none()
            && uri.headers.is_empty()
            && uri.params.iter().next().is_none();
        bare && canonical(&uri, names).as_ref() == Some(aor)
    })
}

/// The address of record that a URI names, in our spelling where it is ours.
fn canonical(uri: &Uri<'_>, names: &Names) -> Option<Aor> {
    names.aor(uri).or_else(|| uri.aor())
}

/// Whether a URI, as written, is one of sips.
pub(super) fn is_sips(uri: &[u8]) -> bool {
    uri.get(..5).is_some_and(|start| start.eq_ignore_ascii_case(b"sips:"))
}

/// A fingerprint without colons, to fit a rule's line.
struct Digits<'a>(&'a [u8; 32]);

impl std::fmt::Display for Digits<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let alias = rempart_sip::uri::Host::parse(b"192.0.2.1").expect("a host");
        Names::new(&["example.org".to_owned()], &[alias], &[])
    }

    fn person(cn: Option<&str>, uris: &[&str]) -> Identity {
        Identity {
            subject_cn: cn.map(str::to_owned),
            san_uri: uris.iter().map(ToString::to_string).collect(),
            verified: true,
            ..Identity::default()
        }
    }

    fn by_user(cn: Option<&str>, from: &str) -> bool {
        let uri = Uri::parse(from.as_bytes()).expect("a URI");
        bears(CertificateMatch::FromUser, Some(&person(cn, &[])), &uri, &names())
    }

    fn by_aor(uri: &str, from: &str) -> bool {
        let from = Uri::parse(from.as_bytes()).expect("a URI");
        bears(CertificateMatch::FromAor, Some(&person(Some("alice"), &[uri])), &from, &names())
    }

    #[test]
    fn the_common_name_is_the_whole_user_and_nothing_else() {
        for from in ["sip:alice@example.org", "sip:%61lice@elsewhere.example"] {
            assert!(by_user(Some("alice"), from), "{from}");
        }
        for cn in [None, Some(""), Some("ali"), Some("alice2"), Some("Alice"), Some("alice ")] {
            assert!(!by_user(cn, "sip:alice@example.org"), "{cn:?}");
        }
        for from in ["sip:example.org", "sip:alice%00@example.org", "sip:bob@example.org"] {
            assert!(!by_user(Some("alice"), from), "{from}");
        }
        assert!(!by_user(Some("alice\0"), "sip:alice%00@example.org"), "a NUL never matches");
        assert!(!by_user(Some(""), "sip:example.org"), "nothing is no name");
    }

    #[test]
    fn an_alternative_name_is_the_whole_address_of_record() {
        for uri in ["sip:alice@example.org", "SIP:alice@Example.org.", "sips:alice@example.org"] {
            assert!(by_aor(uri, "sip:alice@example.org"), "{uri}");
        }
        assert!(by_aor("sip:alice@example.org", "sip:alice@192.0.2.1"), "an alias of ours");
        for uri in [
            "sip:example.org",
            "sip:alice@example.org.evil.example",
            "sip:alice@evil.example",
            "sip:alic@example.org",
            "sip:alice@example.org:5061",
            "sip:alice@example.org;x=y",
            "sip:alice:bob@example.org",
            "https://example.org/alice",
            "",
        ] {
            assert!(!by_aor(uri, "sip:alice@example.org"), "{uri}");
        }
    }

    #[test]
    fn a_certificate_that_is_missing_or_proves_nothing_bears_no_identity() {
        let from = Uri::parse(b"sip:alice@example.org").expect("a URI");
        let unproven =
            Identity { verified: false, ..person(Some("alice"), &["sip:alice@example.org"]) };
        for asked in [CertificateMatch::FromUser, CertificateMatch::FromAor] {
            assert!(!bears(asked, None, &from, &names()));
            assert!(!bears(asked, Some(&unproven), &from, &names()));
        }
    }

    #[test]
    fn sips_is_known_by_its_scheme() {
        assert!(is_sips(b"SIPS:a@b"));
        assert!(!is_sips(b"sip:sips:"));
        assert!(!is_sips(b"sips"));
    }
}
