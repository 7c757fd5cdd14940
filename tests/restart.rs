//! Start, stop and start again: what the server needs to begin, and that a restart forgets
//! nothing (requirements R6, R10; contract.md sections 1 and 2).

mod harness;

use std::time::Duration;

use harness::{QUIET, Setup, Subject, establish, hang_up};
use serde_json::json;

/// Stops the server in one of two ways and starts it on the same store and port.
fn restart(server: &mut Subject, gently: bool) {
    if gently {
        assert_eq!(server.stop(), 0, "a graceful stop is a success");
    } else {
        server.kill();
    }
    server.start_again();
}

#[test]
fn r6_without_a_config_file_the_server_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.json");
    let run = harness::command::run(&config, &["run"], "");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("config.json"), "{}", run.stderr);
    assert_eq!(run.stderr.trim().lines().count(), 1, "one clear line: {}", run.stderr);
}

#[test]
fn r6_a_bad_config_names_line_and_key_and_nothing_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("config.json");
    let bad = [
        ("{ \"flood\": { \"requests\": 16, \"windows\": \"2s\" } }", "flood"),
        ("{\n  \"guard\": { \"failures\": 0 }\n}", "guard.failures"),
        ("{ \"listen\": [\"udp:127.0.0.1:5060\" }", ":1:"),
    ];
    for (text, part) in bad {
        std::fs::write(&config, text).expect("written");
        let run = harness::command::run(&config, &["run"], "");
        assert_eq!(run.code, 1, "{text}");
        assert!(run.stderr.contains(part), "{part} in: {}", run.stderr);
        assert!(!folder.path().join("data").exists(), "nothing half-started");
    }
}

#[test]
fn a_port_that_is_taken_stops_the_start_with_one_line() {
    let server = Setup::new().start();
    let other = tempfile::tempdir().expect("a folder");
    let config = other.path().join("config.json");
    let same = json!({ "listen": [format!("udp:{}", server.address)] });
    std::fs::write(&config, same.to_string()).expect("written");
    let run = harness::command::run(&config, &["run"], "");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("in use"), "{}", run.stderr);
    assert!(run.stderr.contains(&server.address.port().to_string()), "{}", run.stderr);
}

#[test]
fn a_second_server_on_the_same_store_is_refused() {
    let server = Setup::new().start();
    let other = server.folder.path().join("second.json");
    let mut config = Setup::new().complete(harness::subject::free_port());
    config["control"] = json!("second.sock");
    std::fs::write(&other, config.to_string()).expect("written");
    let run = harness::command::run(&other, &["run"], "");
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("data"), "names the store: {}", run.stderr);
}

#[test]
fn r10_authentication_is_on_without_any_switch() {
    let server = Setup::users(&["alice", "bob"]).start();
    let mut alice = server.phone("alice", 20);
    let request = alice.registration(600);
    assert_eq!(alice.ask(&request).status(), 401);
    let text = alice.request("MESSAGE", &server.uri("bob"));
    assert_eq!(alice.ask(&text).status(), 407);
}

#[test]
fn registrations_survive_a_stop_and_a_power_cut() {
    for gently in [true, false] {
        let mut server = Setup::users(&["alice", "bob"]).start();
        let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 30));
        bob.register();
        restart(&mut server, gently);
        let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
        hang_up(&mut alice, &mut call.caller, &mut bob);
    }
}

#[test]
fn a_call_survives_a_restart() {
    let mut server = Setup::users(&["alice", "bob"]).start();
    let (mut alice, mut bob) = (server.phone("alice", 20), server.phone("bob", 30));
    alice.register();
    bob.register();
    let mut call = establish(&mut alice, &mut bob, &server.uri("bob"));
    restart(&mut server, false);
    let info = call.caller.request(&alice, "INFO");
    assert_eq!(harness::call::in_dialog(&mut alice, &info, &mut bob).status(), 200);
    hang_up(&mut bob, &mut call.callee, &mut alice);
}

#[test]
fn bans_and_suspensions_survive_a_power_cut() {
    let setup = Setup::users(&["alice"]).no_flood().guard("seed-ip-user");
    let mut server = setup.start();
    let mut thief = server.phone("alice", 66);
    for _ in 0..3 {
        thief.guess("wrong");
    }
    server.command(&["ban", "add", "127.0.0.67", "--for", "300s"]).ok();
    restart(&mut server, false);
    assert_eq!(thief.guess("wrong").answer(), "403 Try later");
    let mut banned = server.stranger(67);
    let ping = banned.request("OPTIONS", &server.own_uri());
    banned.send(&ping);
    assert!(banned.maybe_response(&ping, QUIET).is_none());
}

#[test]
fn a_flood_ban_survives_a_stop() {
    let mut server = Setup::new().guard("seed-ip-user").start();
    let mut phone = server.stranger(66);
    for _ in 0..17 {
        let ping = phone.request("OPTIONS", &server.own_uri());
        phone.send(&ping);
    }
    server.event("flood.ban");
    restart(&mut server, true);
    phone.drain(Duration::ZERO);
    let ping = phone.request("OPTIONS", &server.own_uri());
    phone.send(&ping);
    assert!(phone.maybe_response(&ping, QUIET).is_none());
}

#[test]
fn the_commands_work_while_the_server_runs_and_while_it_does_not() {
    let mut server = Setup::users(&["alice"]).start();
    let listed = |server: &Subject| server.listing(&["subscriber", "list"]).to_string();
    assert!(listed(&server).contains("alice"));
    let running = server.listing(&["status"]);
    assert!(running.is_object(), "{running}");
    server.stop();
    assert!(listed(&server).contains("alice"));
    server.command(&["subscriber", "add", "bob@sip.example.org"]).ok();
    server.start_again();
    assert!(listed(&server).contains("bob"));
}

#[test]
fn two_servers_run_side_by_side() {
    let (one, two) = (Setup::users(&["alice"]).start(), Setup::users(&["bob"]).start());
    one.phone("alice", 20).register();
    two.phone("bob", 20).register();
    let mut alice = two.phone("alice", 20);
    let request = alice.registration(600);
    assert_eq!(alice.ask_as(request).status(), 401, "each has its own subscribers");
}

#[test]
fn answers_leave_from_the_address_that_received() {
    let server = Setup::new().host("0.0.0.0").start();
    for last in [2, 3] {
        let mut phone = server.stranger(50);
        phone.server.set_ip([127, 0, 0, last].into());
        let ping = phone.request("OPTIONS", &format!("sip:{}", phone.server));
        let answer = phone.ask(&ping);
        assert_eq!(answer.source, phone.server);
    }
}
