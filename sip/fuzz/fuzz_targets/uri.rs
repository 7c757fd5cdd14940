//! One URI: read, compared, made an address of record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rempart_sip::uri::Uri;

fuzz_target!(|text: &[u8]| {
    let Ok(uri) = Uri::parse(text) else { return };
    let _ = (uri.user_unescaped(), uri.host_canonical(), uri.transport());
    assert!(uri.equals(&uri));
});
