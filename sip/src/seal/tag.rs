//! To-tags that an ACK brings back as proof of its address (guard.md section 2).
//!
//! There is no random part: the same request gets the same tag, as a stateless server must give
//! (RFC 3261 section 8.2.7).

use super::token::{Token, decode};
use super::{Mac, Sealer};
use crate::flow::SourceKey;

/// A To-tag: 16 characters, 96 bits of MAC.
pub type Tag = Token<16>;

impl Sealer {
    /// The To-tag of our own response to a request: over its Call-ID, From-tag, CSeq number, top
    /// branch and source.
    pub fn to_tag(
        &self,
        call_id: &[u8],
        from_tag: &[u8],
        cseq: u32,
        branch: &[u8],
        source: SourceKey,
    ) -> Tag {
        let mac: [u8; 12] = self.tags.make(feed(call_id, from_tag, cseq, branch, source));
        Token::encode(&mac)
    }

    /// Whether `tag` is what `to_tag` makes of the rest, now or before the last key rotation.
    pub fn is_to_tag(
        &self,
        tag: &[u8],
        call_id: &[u8],
        from_tag: &[u8],
        cseq: u32,
        branch: &[u8],
        source: SourceKey,
    ) -> bool {
        let Some(mac) = decode::<12>(tag) else { return false };
        self.tags.verify(&mac, feed(call_id, from_tag, cseq, branch, source))
    }
}

fn feed(
    call_id: &[u8],
    from_tag: &[u8],
    cseq: u32,
    branch: &[u8],
    source: SourceKey,
) -> impl Fn(&mut Mac) {
    move |mac| {
        mac.octets(call_id);
        mac.octets(from_tag);
        mac.octets(branch);
        mac.number(u64::from(cseq));
        mac.octets(&source.0.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{is_plain, rotated, sealer, with_one_bit_flipped};
    use super::*;

    const SOURCE: SourceKey = SourceKey(0xffff_c000_0201);

    fn tag(sealer: &Sealer) -> Tag {
        sealer.to_tag(b"call", b"from", 1, b"z9hG4bKx", SOURCE)
    }

    fn accepts(sealer: &Sealer, tag: &[u8]) -> bool {
        sealer.is_to_tag(tag, b"call", b"from", 1, b"z9hG4bKx", SOURCE)
    }

    #[test]
    fn the_same_request_gets_the_same_tag() {
        let tag = tag(&sealer(1));
        assert_eq!(tag, super::tests::tag(&sealer(1)));
        assert!(is_plain(tag.as_bytes()) && tag.as_str().len() == 16);
        assert!(accepts(&sealer(1), tag.as_bytes()));
    }

    #[test]
    fn any_other_request_has_another_tag() {
        let sealer = sealer(1);
        let others = [
            sealer.to_tag(b"other", b"from", 1, b"z9hG4bKx", SOURCE),
            sealer.to_tag(b"call", b"other", 1, b"z9hG4bKx", SOURCE),
            sealer.to_tag(b"call", b"from", 2, b"z9hG4bKx", SOURCE),
            sealer.to_tag(b"call", b"from", 1, b"z9hG4bKy", SOURCE),
            sealer.to_tag(b"call", b"from", 1, b"z9hG4bKx", SourceKey(SOURCE.0 + 1)),
        ];
        for other in others {
            assert!(!accepts(&sealer, other.as_bytes()));
        }
    }

    #[test]
    fn a_tag_outlives_one_rotation_of_the_key_and_no_more() {
        let tag = tag(&sealer(1));
        assert!(accepts(&rotated(2, 1), tag.as_bytes()));
        assert!(!accepts(&rotated(3, 2), tag.as_bytes()));
    }

    #[test]
    fn a_tag_with_one_bit_flipped_is_not_ours() {
        let sealer = sealer(1);
        for text in with_one_bit_flipped(tag(&sealer).as_bytes()) {
            assert!(!accepts(&sealer, &text));
        }
        assert!(!accepts(&sealer, b""));
    }
}
