//! Which transaction a request belongs to (RFC 3261 section 17.2.3), as a keyed hash, so that a
//! table of transactions compares sixteen octets and nobody can aim for its collisions.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::flow::Transport;
use crate::message::{HeaderName, Message, Method, Via};

/// Begins every branch of RFC 3261 (section 8.1.1.7), and is no identifier alone.
const MAGIC_COOKIE: &[u8] = b"z9hG4bK";

/// The key of a server transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransactionKey(pub u128);

/// The key of the transaction that a request opens or repeats, hashed with `secret`. An ACK has
/// its INVITE's key, a CANCEL one of its own. `None` where the top Via
/// is unusable, or the CSeq where it is needed.
///
/// Without a branch that begins with the magic cookie the rules of RFC 2543 apply. The To-tag is
/// left out of an INVITE's key there, because the ACK has one that the INVITE had not; the
/// CSeq number keeps a re-INVITE apart.
pub fn server_key(secret: &[u8; 16], request: Message<'_>) -> Option<TransactionKey> {
    match request.method() {
        Method::Ack => invite_key(secret, request),
        method => key(secret, request, method),
    }
}

/// The key of the INVITE that an ACK or a CANCEL speaks of.
pub fn invite_key(secret: &[u8; 16], request: Message<'_>) -> Option<TransactionKey> {
    key(secret, request, Method::Invite)
}

fn key(secret: &[u8; 16], request: Message<'_>, method: Method<'_>) -> Option<TransactionKey> {
    let via = request.via()?;
    let mut fields = Fields(SipHasher24::new_with_key(secret));
    fields.add(method.as_bytes());
    match via.branch.filter(|branch| is_identifier(branch)) {
        Some(branch) => fields.add_branch(&via, branch),
        None => fields.add_rfc2543(request, method)?,
    }
    Some(TransactionKey(fields.0.finish128().as_u128()))
}

/// RFC 4475 section 3.1.2.15: the cookie alone identifies nothing.
fn is_identifier(branch: &[u8]) -> bool {
    branch
        .split_at_checked(MAGIC_COOKIE.len())
        .is_some_and(|(cookie, rest)| cookie.eq_ignore_ascii_case(MAGIC_COOKIE) && !rest.is_empty())
}

/// A hash over fields, each with its length, so that no two sequences of fields look alike.
struct Fields(SipHasher24);

impl Fields {
    fn add(&mut self, field: &[u8]) {
        self.0.write(&field.len().to_le_bytes());
        self.0.write(field);
    }

    fn add_branch(&mut self, via: &Via<'_>, branch: &[u8]) {
        let default_port = Transport::parse(via.transport).map_or(0, Transport::default_port);
        self.add(branch);
        self.add(&via.host.to_ascii_lowercase());
        self.add(&via.port.unwrap_or(default_port).to_le_bytes());
    }

    fn add_rfc2543(&mut self, request: Message<'_>, method: Method<'_>) -> Option<()> {
        // No branch that identifies is empty, so neither kind of key can pass for the other.
        self.add(b"");
        self.add(request.request_uri());
        self.add(request.values(HeaderName::Via).next()?);
        self.add(request.from_tag().unwrap_or_default());
        self.add(request.call_id());
        self.add(&request.cseq()?.number.to_le_bytes());
        if method != Method::Invite {
            self.add(request.to_tag().unwrap_or_default());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::OwnedMessage;

    const SECRET: &[u8; 16] = b"sixteen octets..";
    const INVITE: &str = "INVITE sip:b@h SIP/2.0\r\n\
        Via: SIP/2.0/UDP a.example:5060;branch=z9hG4bK1\r\n\
        From: <sip:a@h>;tag=1\r\n\
        To: <sip:b@h>\r\n\
        Call-ID: x\r\n\
        CSeq: 7 INVITE\r\n\r\n";

    fn of(text: &str) -> TransactionKey {
        let owned = OwnedMessage::new(text.as_bytes().to_vec()).expect("a message of this test");
        server_key(SECRET, owned.view()).expect("a usable request")
    }

    fn invite_of(text: &str) -> TransactionKey {
        let owned = OwnedMessage::new(text.as_bytes().to_vec()).expect("a message of this test");
        invite_key(SECRET, owned.view()).expect("a usable request")
    }

    fn rfc2543() -> String {
        INVITE.replace(";branch=z9hG4bK1", "")
    }

    #[test]
    fn branch_sent_by_and_method_make_the_key() {
        let key = of(INVITE);
        assert_eq!(key, of(INVITE));
        assert_ne!(key, of(&INVITE.replace("z9hG4bK1", "z9hG4bK2")));
        assert_ne!(key, of(&INVITE.replace("a.example", "b.example")));
        assert_ne!(key, of(&INVITE.replace("5060", "5062")));
        assert_ne!(key, of(&INVITE.replace("INVITE", "BYE")));
    }

    #[test]
    fn nothing_else_counts_when_the_branch_has_the_cookie() {
        let other = INVITE.replace("tag=1", "tag=2").replace("Call-ID: x", "Call-ID: y");
        assert_eq!(of(INVITE), of(&other.replace("CSeq: 7", "CSeq: 8")));
    }

    #[test]
    fn case_of_the_host_and_the_default_port_do_not_count() {
        assert_eq!(of(INVITE), of(&INVITE.replace("a.example", "A.Example")));
        assert_eq!(of(INVITE), of(&INVITE.replace(":5060", "")));
    }

    #[test]
    fn ack_has_the_key_of_its_invite() {
        for invite in [INVITE, &rfc2543()] {
            let ack =
                invite.replace("INVITE", "ACK").replace("To: <sip:b@h>", "To: <sip:b@h>;tag=9");
            assert_eq!(of(&ack), of(invite));
        }
    }

    #[test]
    fn cancel_has_a_key_of_its_own_and_names_the_invite() {
        for invite in [INVITE, &rfc2543()] {
            let cancel = invite.replace("INVITE", "CANCEL");
            assert_ne!(of(&cancel), of(invite));
            assert_eq!(invite_of(&cancel), of(invite));
        }
    }

    #[test]
    fn rfc_2543_requests_are_told_apart_by_all_their_fields() {
        let key = of(&rfc2543());
        let changes = [
            ("sip:b@h SIP", "sip:c@h SIP"),
            ("a.example", "b.example"),
            ("tag=1", "tag=2"),
            ("Call-ID: x", "Call-ID: y"),
            ("CSeq: 7", "CSeq: 8"),
            (":5060", ":5060;branch=1"),
            ("INVITE", "OPTIONS"),
        ];
        for (from, to) in changes {
            assert_ne!(key, of(&rfc2543().replace(from, to)), "{from}");
        }
    }

    #[test]
    fn rfc_2543_to_tag_counts_outside_an_invite() {
        let bye = rfc2543().replace("INVITE", "BYE");
        assert_ne!(of(&bye), of(&bye.replace("To: <sip:b@h>", "To: <sip:b@h>;tag=9")));
    }

    #[test]
    fn cookie_alone_is_no_branch() {
        let bare = INVITE.replace("z9hG4bK1", "z9hG4bK");
        assert_ne!(of(&bare), of(&bare.replace("Call-ID: x", "Call-ID: y")));
    }

    #[test]
    fn keys_depend_on_the_secret() {
        let owned = OwnedMessage::new(INVITE.as_bytes().to_vec()).expect("a message of this test");
        assert_ne!(server_key(&[0; 16], owned.view()), server_key(SECRET, owned.view()));
    }
}
