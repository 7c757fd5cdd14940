//! One Authorization value, verified against a secret it cannot know.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rempart_sip::digest::{Algorithm, Credentials, Ha1};

fuzz_target!(|value: &[u8]| {
    let Ok(credentials) = Credentials::parse(value) else { return };
    let secret = Ha1::dummy(&[7; 16]);
    assert!(!credentials.verify(b"REGISTER", &secret, Algorithm::Md5));
});
