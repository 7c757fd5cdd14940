//! SIGHUP and `rempart reload`: a new configuration comes into force without dropping anyone, and
//! a bad one changes nothing (issue "phones register and call", part 5).

mod harness;

use harness::{Phone, Setup, Subject, establish, eventually, hang_up};
use serde_json::json;

/// What a phone with this product name hears: `200 OK` is the scanner's answer.
fn heard(phone: &mut Phone, server: &Subject, agent: &str) -> String {
    let ping = phone.request("OPTIONS", &server.own_uri()).with("User-Agent", agent);
    phone.ask(&ping).answer().to_string()
}

fn reload(server: &Subject, setup: &Setup) {
    server.write_config(&setup.complete(server.address.port()));
    server.signal(libc::SIGHUP);
}

#[test]
fn sighup_brings_the_new_configuration_into_force() {
    let setup = Setup::new().no_flood();
    let server = setup.clone().start();
    let mut phone = server.stranger(50);
    assert_eq!(heard(&mut phone, &server, "new-tool/1"), "200 Keepalive");
    reload(&server, &setup.config(json!({ "scanners": { "user_agents": ["new-tool"] } })));
    eventually("the new list is in force", || {
        (heard(&mut phone, &server, "new-tool/1") == "200 OK").then_some(())
    });
    assert_eq!(heard(&mut phone, &server, "friendly-scanner"), "200 Keepalive");
}

#[test]
fn sighup_with_a_bad_configuration_keeps_the_old_one() {
    let setup = Setup::new().no_flood();
    let mut server = setup.clone().start();
    let mut phone = server.stranger(50);
    let scanners = json!({ "user_agents": ["new-tool"], "stray": 1 });
    reload(&server, &setup.clone().config(json!({ "scanners": scanners })));
    eventually("the refusal is logged", || server.log().contains("stray").then_some(()));
    assert_eq!(heard(&mut phone, &server, "new-tool/1"), "200 Keepalive");
    assert_eq!(heard(&mut phone, &server, "friendly-scanner"), "200 OK");
    assert_eq!(server.exited(), None, "the server goes on");
    reload(&server, &setup.config(json!({ "scanners": { "user_agents": ["new-tool"] } })));
    eventually("a good one is taken afterwards", || {
        (heard(&mut phone, &server, "new-tool/1") == "200 OK").then_some(())
    });
}

#[test]
fn a_reload_drops_neither_registrations_nor_calls() {
    let setup = Setup::users(&["alice", "bob"]).no_flood();
    let server = setup.clone().start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.tcp_phone("bob", 30));
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    reload(&server, &setup.config(json!({ "scanners": { "user_agents": ["new-tool"] } })));
    let mut phone = server.stranger(50);
    eventually("the new list is in force", || {
        (heard(&mut phone, &server, "new-tool/1") == "200 OK").then_some(())
    });
    hang_up(&mut alice, &mut call.caller, &mut bob);
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    hang_up(&mut bob, &mut call.callee, &mut alice);
}

#[test]
fn a_reload_changes_the_flood_limit_and_the_trusted() {
    let setup = Setup::users(&["alice", "bob"]).no_flood();
    let server = setup.clone().start();
    let mut trunk = server.phone("alice", 40);
    let ask = |trunk: &mut Phone| {
        let text = trunk.request("MESSAGE", &server.uri("bob"));
        trunk.ask(&text).status()
    };
    assert_eq!(ask(&mut trunk), 407);
    reload(&server, &setup.clone().trusted(json!({ "net": "127.0.0.40/32" })));
    eventually("the address is trusted", || (ask(&mut trunk) == 480).then_some(()));
    reload(&server, &setup);
    eventually("the trust is withdrawn", || (ask(&mut trunk) == 407).then_some(()));
}

#[test]
fn the_reload_command_returns_when_the_new_configuration_is_in_force() {
    let setup = Setup::new().no_flood();
    let server = setup.clone().start();
    let mut phone = server.stranger(50);
    let port = server.address.port();
    let setup = setup.config(json!({ "scanners": { "user_agents": ["new-tool"] } }));
    server.write_config(&setup.complete(port));
    assert!(server.command(&["reload"]).ok().stdout.contains("is in force"));
    assert_eq!(heard(&mut phone, &server, "new-tool/1"), "200 OK");
    let waiting = setup.clone().config(json!({ "dns": { "servers": ["127.0.0.53"] } }));
    server.write_config(&waiting.complete(port));
    assert!(server.command(&["reload"]).ok().stdout.contains("dns only after a restart"));
    server.write_config(&setup.config(json!({ "stray": 1 })).complete(port));
    let refused = server.command(&["reload"]);
    assert!(refused.code == 1 && refused.stderr.contains("stray"), "{refused:?}");
    assert_eq!(heard(&mut phone, &server, "new-tool/1"), "200 OK");
}
