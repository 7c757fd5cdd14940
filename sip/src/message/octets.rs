//! The few octet loops that everything else is made of: trimming, searching, token characters,
//! quoted strings (RFC 3261 section 25.1).
//!
//! Folded lines keep their CR LF in the spans, so CR and LF count as white space here.

/// True for SP, HTAB and the CR LF of a folded line.
pub(crate) const fn is_lws(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// The octets without white space at either end.
pub(crate) fn trim(octets: &[u8]) -> &[u8] {
    trim_end(trim_start(octets))
}

/// The octets without white space at the front.
pub(crate) fn trim_start(mut octets: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = octets
        && is_lws(*first)
    {
        octets = rest;
    }
    octets
}

/// The octets without white space at the end.
pub(crate) fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let [rest @ .., last] = octets
        && is_lws(*last)
    {
        octets = rest;
    }
    octets
}

const fn token_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        let c = octet as u8;
        table[octet] = c.is_ascii_alphanumeric()
            || matches!(c, b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~');
        octet += 1;
    }
    table
}

static TOKEN: [bool; 256] = token_table();

/// True for a character of an RFC 3261 `token`.
pub(crate) fn is_token(octet: u8) -> bool {
    TOKEN[usize::from(octet)]
}

/// True for a whole, non-empty token.
pub(crate) fn is_whole_token(octets: &[u8]) -> bool {
    !octets.is_empty() && octets.iter().all(|o| is_token(*o))
}

/// One bit for each of sixteen octets: set where it is `a` or `b`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
fn hits_sse2(block: &[u8; 16], a: u8, b: u8) -> u32 {
    use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_or_si128};
    use std::arch::x86_64::{_mm_set_epi64x, _mm_set1_epi8};
    let block = u128::from_le_bytes(*block);
    let block = _mm_set_epi64x((block >> 64) as i64, block as i64);
    let with_a = _mm_cmpeq_epi8(block, _mm_set1_epi8(a as i8));
    let with_b = _mm_cmpeq_epi8(block, _mm_set1_epi8(b as i8));
    _mm_movemask_epi8(_mm_or_si128(with_a, with_b)) as u32
}

#[cfg(target_arch = "x86_64")]
fn hits(block: &[u8; 16], a: u8, b: u8) -> u32 {
    // SAFETY: every x86-64 processor has SSE2, and no pointer is handed over.
    unsafe { hits_sse2(block, a, b) }
}

#[cfg(not(target_arch = "x86_64"))]
fn hits(block: &[u8; 16], a: u8, b: u8) -> u32 {
    let bit = |(place, octet): (usize, &u8)| u32::from(*octet == a || *octet == b) << place;
    block.iter().enumerate().map(bit).fold(0, |mask, bit| mask | bit)
}

/// Where the first of two octets stands; sixteen octets a step, and the last step over the last
/// sixteen, of which it has seen some.
pub(crate) fn find2(octets: &[u8], a: u8, b: u8) -> Option<usize> {
    let Some(last) = octets.last_chunk::<16>() else {
        return octets.iter().position(|o| *o == a || *o == b);
    };
    for (at, block) in octets.as_chunks::<16>().0.iter().enumerate() {
        let mask = hits(block, a, b);
        if mask != 0 {
            return Some(at * 16 + mask.trailing_zeros() as usize);
        }
    }
    let mask = hits(last, a, b);
    (mask != 0).then(|| octets.len() - 16 + mask.trailing_zeros() as usize)
}

/// Where the octet first stands.
pub(crate) fn find(octets: &[u8], octet: u8) -> Option<usize> {
    find2(octets, octet, octet)
}

/// Octets up to and with the closing quote, where `octets` begins just after the opening one.
/// None: it never closes.
pub(crate) fn quoted_len(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let hit = at + find2(octets.get(at..)?, b'"', b'\\')?;
        if octets.get(hit) == Some(&b'"') {
            return Some(hit + 1);
        }
        at = hit + 2;
    }
}

/// True when every quoted string in the value closes.
pub(crate) fn quotes_close(mut value: &[u8]) -> bool {
    while let Some(open) = find(value, b'"') {
        let inside = value.get(open + 1..).unwrap_or_default();
        let Some(length) = quoted_len(inside) else { return false };
        value = inside.get(length..).unwrap_or_default();
    }
    true
}

/// Where `octet` first stands outside quoted strings. A quote that never closes hides the rest.
pub(crate) fn find_unquoted(octets: &[u8], octet: u8) -> Option<usize> {
    let mut at = 0;
    loop {
        let hit = at + find2(octets.get(at..)?, octet, b'"')?;
        if octets.get(hit) == Some(&octet) {
            return Some(hit);
        }
        at = hit + 1 + quoted_len(octets.get(hit + 1..)?)?;
    }
}

/// A number of digits only; None for anything else, `u64::MAX` where it is larger than that.
pub(crate) fn digits(octets: &[u8]) -> Option<u64> {
    if octets.is_empty() {
        return None;
    }
    octets.iter().try_fold(0u64, |sum, octet| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        Some(sum.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn white_space_goes_from_both_ends_only() {
        assert_eq!(trim(b" \r\n\ta b\t "), b"a b");
        assert_eq!(trim(b" \t"), b"");
    }

    #[test]
    fn escaped_quote_does_not_close_a_string() {
        assert_eq!(quoted_len(br#"a\"b" x"#), Some(5));
        assert_eq!(quoted_len(br#"a\\" x"#), Some(4));
        assert_eq!(quoted_len(br#"a\""#), None);
        assert!(!quotes_close(br#""a" "b"#));
        assert!(quotes_close(br#""a" "b""#));
    }

    #[test]
    fn quoted_octets_are_not_found() {
        assert_eq!(find_unquoted(br#""a;b";c"#, b';'), Some(5));
        assert_eq!(find_unquoted(br#""a;b"#, b';'), None);
    }

    #[test]
    fn numbers_saturate_and_refuse_signs() {
        assert_eq!(digits(b"0068"), Some(68));
        assert_eq!(digits(b"-1"), None);
        assert_eq!(digits(b""), None);
        assert_eq!(digits(b"99999999999999999999999999"), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn wide_search_agrees_with_the_narrow_one(
            octets in proptest::collection::vec(0u8..6, 0..60), a in 0u8..6, b in 0u8..6,
        ) {
            let narrow = octets.iter().position(|o| *o == a || *o == b);
            prop_assert_eq!(find2(&octets, a, b), narrow);
        }
    }
}
