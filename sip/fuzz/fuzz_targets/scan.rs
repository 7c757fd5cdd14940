//! One datagram: scanned, screened, forwarded; what we send on must be readable again.
//! Seeds: `cargo fuzz run scan tests/torture` from `sip/`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rempart_sip::edit::{Forward, Routes, forward_request, forward_response};
use rempart_sip::message::{Index, Message};
use rempart_sip::scan::scan;
use rempart_sip::screen::screen;

fuzz_target!(|raw: &[u8]| {
    let (mut index, mut out) = (Index::default(), Vec::new());
    let fine = scan(raw, &mut index).is_ok();
    let m = Message::new(raw, &index);
    let _ = (screen(m), m.can_answer(), m.from_tag(), m.to_tag(), m.vias().count());
    forward_response(&mut out, m, None);
    let forward = Forward {
        request_uri: None,
        via: b"SIP/2.0/UDP proxy;branch=z9hG4bKours",
        received: Some(([192, 0, 2, 9], 4444).into()),
        record_routes: &[],
        routes: Routes::Keep { skip: 1, push: None },
        max_forwards: 69,
        remove: &[],
        add: &[],
    };
    forward_request(&mut out, m, &forward);
    if fine && m.is_request() {
        let mut after = Index::default();
        assert_eq!(scan(&out, &mut after), Ok(()));
        assert_eq!(Message::new(&out, &after).body(), m.body());
    }
});
