//! kill -9 in the middle of provisioning and registering: whatever was acknowledged before the
//! process died is there when it comes back. `REMPART_CRASH_CYCLES=200` runs the long form.

mod harness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{DOMAIN, Phone, Setup, Subject};

/// What one cycle was told to be done.
#[derive(Default)]
struct Acknowledged {
    subscribers: Vec<String>,
    contacts: Vec<String>,
    bans: Vec<String>,
}

fn cycles() -> usize {
    let asked = std::env::var("REMPART_CRASH_CYCLES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(6)
}

#[test]
fn no_acknowledged_write_is_lost_by_kill_9() {
    let cycles = cycles();
    let users: Vec<String> = (0..cycles).map(|cycle| format!("phone{cycle}")).collect();
    let names: Vec<&str> = users.iter().map(String::as_str).collect();
    let mut server = Setup::users(&names).no_flood().start();
    let mut written = 0;
    for (cycle, user) in users.iter().enumerate() {
        let done = write_until_killed(&server, cycle, user);
        server.kill();
        server.start_again();
        written += done.subscribers.len() + done.contacts.len() + done.bans.len();
        all_there(&server, user, &done);
    }
    assert!(written >= cycles, "{written} acknowledged writes in {cycles} cycles prove something");
}

/// Provisions, bans and registers at once until the process dies, at another moment each cycle.
fn write_until_killed(server: &Subject, cycle: usize, user: &str) -> Acknowledged {
    let mut phone = server.phone(user, 20);
    let (pid, dead) = (server.pid(), AtomicBool::new(false));
    let mut done = Acknowledged::default();
    std::thread::scope(|scope| {
        let commands = scope.spawn(|| provision(server, cycle, &dead));
        let killer = scope.spawn(|| {
            let moment = 30 + (cycle as u64 * 7919) % 150;
            std::thread::sleep(Duration::from_millis(moment));
            // SAFETY: plain system call on a process that we started and have not reaped.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            dead.store(true, Ordering::Release);
        });
        done.contacts = register(&mut phone, &dead);
        killer.join().expect("the killer is done");
        let (subscribers, bans) = commands.join().expect("the commands are done");
        (done.subscribers, done.bans) = (subscribers, bans);
    });
    done
}

/// Adds subscribers and bans by command; a command that failed acknowledged nothing.
fn provision(server: &Subject, cycle: usize, dead: &AtomicBool) -> (Vec<String>, Vec<String>) {
    let (mut subscribers, mut bans) = (Vec::new(), Vec::new());
    for serial in 0..4 {
        if dead.load(Ordering::Acquire) {
            break;
        }
        let aor = format!("new{cycle}x{serial}@{DOMAIN}");
        let added = server.command_with(&["subscriber", "add", &aor, "--password-stdin"], "pw\n");
        subscribers.extend((added.code == 0).then_some(aor));
        let address = format!("127.{}.{}.{serial}", 10 + cycle / 200, cycle % 200);
        let banned = server.command(&["ban", "add", &address, "--for", "3600s"]);
        bans.extend((banned.code == 0).then_some(address));
    }
    (subscribers, bans)
}

/// Registers one contact after the other until nobody answers.
fn register(phone: &mut Phone, dead: &AtomicBool) -> Vec<String> {
    let mut contacts = Vec::new();
    let wait = Duration::from_millis(200);
    for serial in 0..9 {
        if dead.load(Ordering::Acquire) {
            break;
        }
        let contact = format!("sip:line{serial}@{}", phone.local);
        let request = phone.registration(3600).set("Contact", format!("<{contact}>"));
        phone.send(&request);
        let Some(challenged) = phone.maybe_response(&request, wait) else { break };
        let authorized = phone.authorized(&request, &challenged);
        phone.send(&authorized);
        let Some(answer) = phone.maybe_response(&authorized, wait) else { break };
        assert_eq!(answer.status(), 200, "{}", answer.start);
        contacts.push(contact);
    }
    contacts
}

fn all_there(server: &Subject, user: &str, done: &Acknowledged) {
    let subscribers = server.listing(&["subscriber", "list"]).to_string();
    for aor in &done.subscribers {
        assert!(subscribers.contains(aor), "{aor} was acknowledged and is lost");
    }
    let shown = server.command(&["location", "show", &format!("{user}@{DOMAIN}"), "--json"]);
    for contact in &done.contacts {
        assert!(shown.stdout.contains(contact), "{contact} is lost: {}", shown.stdout);
    }
    let bans = server.listing(&["ban", "list"]).to_string();
    for address in &done.bans {
        assert!(bans.contains(&format!("\"{address}")), "the ban of {address} is lost");
    }
}
