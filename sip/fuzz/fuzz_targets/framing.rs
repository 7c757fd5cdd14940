//! One stream, in pieces as its first octet says: the pieces must not matter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rempart_sip::framing::Framer;

fuzz_target!(|octets: &[u8]| {
    let Some((size, stream)) = octets.split_first() else { return };
    let mut pieces = Framer::new(65_535);
    let mut got = Vec::new();
    for piece in stream.chunks(usize::from(*size).max(1)) {
        pieces.push(piece);
        got.extend(pieces.by_ref());
    }
    let mut whole = Framer::new(65_535);
    whole.push(stream);
    assert_eq!(got, whole.collect::<Vec<_>>());
});
