//! The command line as an operator meets it: the real binary, a folder of its own per test, no
//! server running unless a test says so.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a config, and the binary run in it.
struct Site {
    folder: TempDir,
}

impl Site {
    fn new() -> Self {
        Self::with(&json!({ "domains": ["a.example", "b.example"], "listen": ["udp:127.0.0.1:0"] }))
    }

    fn with(config: &Value) -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::write(site.path("config.json"), config.to_string()).expect("a config");
        site
    }

    fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, line: &str) -> Run {
        self.feed(line, "")
    }

    /// Runs a command line, split at spaces, with `input` on standard input.
    fn feed(&self, line: &str, input: &str) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_rempart"))
            .args(line.split(' ').filter(|word| !word.is_empty()))
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A command that does not read its input closes the pipe before we are through.
        drop(stdin.write_all(input.as_bytes()));
        drop(stdin);
        Run::of(line, child.wait_with_output().expect("the binary ends"))
    }
}

/// What a command line did; printed whole when a test fails.
#[derive(Debug)]
#[expect(dead_code, reason = "line is for the message of a failed test")]
struct Run {
    line: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn of(line: &str, output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let code = output.status.code();
        Self { line: line.to_owned(), code, out: text(output.stdout), err: text(output.stderr) }
    }

    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    #[track_caller]
    fn json(self) -> Value {
        serde_json::from_str(&self.ok()).expect("JSON")
    }

    /// Failed with one line on standard error that holds `text`.
    #[track_caller]
    fn failed(self, text: &str) {
        assert_eq!(self.code, Some(1), "{self:?}");
        assert_eq!(self.err.trim_end().lines().count(), 1, "{self:?}");
        assert!(self.err.contains(text), "{self:?}");
    }

    #[track_caller]
    fn misused(self) {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert!(!self.err.is_empty(), "{self:?}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    let site = Site::new();
    for line in [
        "",
        "walk",
        "subscriber",
        "subscriber add",
        "subscriber add alice@a.example --password-stdin --generate",
        "trust add 192.0.2.0/99",
        "trust add 192.0.2.1 --may everything",
        "trust add 192.0.2.1 --port 0",
        "ban add not-an-ip",
        "ban add 192.0.2.1 --for ever",
        "ban add 192.0.2.1 --for 0s",
        "unban nobody",
        "unban 192.0.2.1 --from 192.0.2.2",
        "init not/a/domain",
    ] {
        site.run(line).misused();
    }
    assert!(site.run("--help").ok().contains("subscriber"));
    assert!(site.run("--version").ok().starts_with("rempart "));
}

#[test]
fn without_a_config_nothing_starts_and_the_remedy_is_named() {
    let site = Site::empty();
    for line in ["run", "check", "subscriber list", "status"] {
        site.run(line).failed("config.json: cannot read it: ");
    }
    site.run("run --config other.json").failed("rempart init DOMAIN");
}

#[test]
fn a_bad_config_stops_run_and_check_with_its_place() {
    let site = Site::with(&json!({ "flod": {} }));
    for line in ["run", "check"] {
        site.run(line).failed("config.json:1:2: flod: unknown key; did you mean \"flood\"?");
    }
}

#[test]
fn a_certificate_that_cannot_be_used_stops_run_and_check() {
    let files = json!({ "certificate": "own.pem", "key": "own.key" });
    let site = Site::with(&json!({ "listen": ["tls:127.0.0.1:0"], "tls": files }));
    for line in ["run", "check"] {
        site.run(line).failed("own.pem: cannot read it");
    }
    assert!(!site.path("data/self-signed.pem").exists());
}

#[test]
fn init_writes_a_config_that_check_likes_and_never_overwrites() {
    let site = Site::empty();
    assert!(site.run("init SIP.example.org").ok().contains("wrote config.json"));
    let before = std::fs::read_to_string(site.path("config.json")).expect("a config");
    let out = site.run("check").ok();
    assert!(out.contains("sip.example.org"), "{out}");
    assert!(!site.path("data").exists(), "check makes no store");
    site.run("init other.example").failed("it is left as it is");
    let after = std::fs::read_to_string(site.path("config.json")).expect("a config");
    assert_eq!(before, after);
}

#[test]
fn check_tells_notes_from_weak_choices() {
    let site = Site::with(&json!({ "guard": { "mode": "off" }, "flood": null }));
    site.run("trust add 192.0.2.10 --tag trunk").ok();
    let rows = site.run("check --json").json();
    let has = |weight: &str, key: &str| {
        rows.as_array()
            .is_some_and(|rows| rows.iter().any(|row| row["weight"] == weight && row["key"] == key))
    };
    for key in ["guard.mode", "flood", "trust list"] {
        assert!(has("weak", key), "{key}: {rows:#}");
    }
    assert!(has("note", "auth.algorithms"), "{rows:#}");
}

#[test]
fn a_subscriber_is_added_shown_changed_and_removed() {
    let site = Site::new();
    let password = site.run("subscriber add alice@a.example").ok();
    assert!(password.trim_end().len() >= 20, "{password}");
    assert_eq!(password.lines().count(), 1);
    assert_eq!(
        site.feed("subscriber add bob@b.example --password-stdin", "s3cret\n").ok(),
        "added bob@b.example\n"
    );
    site.run("subscriber add alice@a.example").failed("alice@a.example exists");

    let rows = site.run("subscriber list --json").json();
    let users: Vec<_> = rows.as_array().into_iter().flatten().map(|row| &row["user"]).collect();
    assert_eq!(users, ["alice@a.example", "bob@b.example"]);
    let shown = site.run("subscriber show bob@b.example --json").ok();
    assert!(!shown.contains("s3cret") && !shown.contains("ha1"), "{shown}");
    assert!(site.run("subscriber show bob@b.example").ok().contains("MD5,SHA-256"));

    let other = site.run("subscriber passwd alice@a.example").ok();
    assert_ne!(other, password);
    assert_eq!(site.run("subscriber remove alice@a.example").ok(), "removed alice@a.example\n");
    site.run("subscriber remove alice@a.example").failed("no such user: alice@a.example");
    site.run("subscriber passwd alice@a.example").failed("no such user");
    site.run("subscriber show alice@a.example").failed("no such user");
}

#[test]
fn a_user_is_kept_under_a_domain_of_the_config() {
    let site = Site::new();
    site.run("subscriber add alice").failed("write alice@a.example");
    site.run("subscriber add alice@c.example").failed("the domains are a.example, b.example");
    site.run("subscriber add alice@127.0.0.1").ok();
    site.run("subscriber add alice@a.example").failed("exists");
    let site = Site::with(&json!({ "listen": ["udp:127.0.0.1:0"] }));
    site.run("subscriber add alice@127.0.0.1").ok();
    assert_eq!(site.run("subscriber list --json").json()[0]["user"], "alice@127.0.0.1");
}

#[test]
fn passwords_from_standard_input_are_one_line() {
    let site = Site::new();
    for (input, why) in [("", "is empty"), ("\n", "is empty"), ("a\tb\n", "control characters")] {
        site.feed("subscriber add alice@a.example --password-stdin", input).failed(why);
    }
    site.feed("subscriber add alice@a.example --password-stdin", &"x".repeat(2_000))
        .failed("longer than 1024 bytes");
    site.feed("subscriber add alice@a.example --password-stdin", "no newline").ok();
}

#[test]
fn an_import_names_each_refused_line_and_loads_the_rest() {
    let site = Site::new();
    let lines = [
        "# user\tdomain\tpassword",
        "alice\ta.example\tsecret",
        "bob\tc.example\tsecret",
        "carol\ta.example",
        "dave\tb.example\tha1:0123456789abcdef0123456789abcdef",
        "erin\t127.0.0.1\tha1:0123456789abcdef0123456789abcdef",
        "frank\ta.example\tha1:short",
    ];
    std::fs::write(site.path("users.tsv"), lines.join("\n")).expect("a file");
    let run = site.run("subscriber import users.tsv");
    let places: Vec<&str> = run.err.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["users.tsv:3", "users.tsv:4", "users.tsv:6", "users.tsv:7"], "{run:?}");
    assert_eq!(run.ok(), "loaded 2, refused 4\n");
    let rows = site.run("subscriber list --json").json();
    assert_eq!(rows[0]["algorithms"], json!(["MD5", "SHA-256"]));
    assert_eq!(rows[1]["algorithms"], json!(["MD5"]));
    assert_eq!(rows[2], Value::Null);

    let run = site.feed("subscriber import -", "bob\tc.example\tsecret\n");
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(run.err.contains("-:1: ") && run.err.contains("nothing loaded, 1 refused"), "{run:?}");
    site.run("subscriber import none.tsv").failed("none.tsv: cannot read it");
}

#[test]
fn an_import_of_several_batches_is_complete() {
    let site = Site::new();
    let lines: String = (0..4_500).map(|n| format!("user{n}\ta.example\tsecret{n}\n")).collect();
    let run = site.feed("subscriber import -", &lines);
    assert_eq!(run.err, "");
    assert_eq!(run.ok(), "loaded 4500, refused 0\n");
    let rows = site.run("subscriber list --json").json();
    assert_eq!(rows.as_array().map(Vec::len), Some(4_500));
}

#[test]
fn the_address_table_shows_config_and_store() {
    let site = Site::with(&json!({ "trusted": [{ "net": "192.0.2.10", "may": ["local"] }] }));
    site.run("trust add 198.51.100.0/24 --may pstn,local --port 5060 --transport tcp --tag trunk")
        .ok();
    let rows = site.run("trust list --json").json();
    assert_eq!(
        rows,
        json!([
            { "net": "192.0.2.10/32", "group": 1, "may": ["local"], "strict": false,
              "pstn_any_from": false, "tag": "", "from": "config" },
            { "net": "198.51.100.0/24", "group": 1, "may": ["local", "pstn"], "strict": false,
              "pstn_any_from": false, "tag": "trunk", "port": 5060, "transport": "tcp",
              "from": "store" },
        ])
    );
    let table = site.run("trust list").ok();
    assert!(table.contains("198.51.100.0/24") && table.contains("trunk"), "{table}");
    site.run("trust remove 192.0.2.10").failed("it stands in the config");
    site.run("trust remove 198.51.100.0/24 --port 5070").failed("holds no such entry");
    site.run("trust remove 198.51.100.0/24").ok();
    site.run("trust remove 198.51.100.0/24").failed("holds no such entry");
}

#[test]
fn an_entry_without_may_has_the_seeds_rights() {
    let site = Site::new();
    site.run("trust add 192.0.2.10").ok();
    let rows = site.run("trust list --json").json();
    assert_eq!(rows[0]["may"], json!(["local", "pstn", "foreign"]));
}

#[test]
fn bans_are_added_listed_and_lifted() {
    let site = Site::new();
    assert_eq!(site.run("ban list --json").ok(), "[]\n");
    let run = site.run("ban list");
    assert_eq!((run.out.as_str(), run.err.as_str()), ("", "nobody is banned or suspended\n"));
    site.run("ban add 192.0.2.1 --for 1h").ok();
    site.run("ban add 2001:db8::1 --reason noise").ok();
    let rows = site.run("ban list --json").json();
    let row = |address: &str| {
        let mut rows = rows.as_array().into_iter().flatten();
        rows.find(|row| row["address"] == address).cloned().unwrap_or_default()
    };
    let v4 = row("192.0.2.1");
    assert_eq!((&v4["kind"], &v4["evidence"]), (&json!("ban"), &json!("manual")), "{rows:#}");
    assert_eq!((&v4["user"], &v4["reason"]), (&Value::Null, &json!("manual")));
    assert_eq!(v4["since"].as_str().map(str::len), Some("2025-11-24T14:05:00Z".len()));
    assert_eq!(row("2001:db8::/64")["reason"], "noise", "{rows:#}");
    let table = site.run("ban list").ok();
    assert!(table.contains("192.0.2.1") && table.contains("manual"), "{table}");

    assert_eq!(site.run("unban 192.0.2.1").ok(), "lifted 1 ban or suspension of 192.0.2.1\n");
    assert_eq!(site.run("unban 192.0.2.1").ok(), "nothing to lift for 192.0.2.1\n");
    site.run("unban 2001:db8::7").ok();
    assert_eq!(site.run("ban list --json").ok(), "[]\n");
    site.run("unban alice@a.example --from 192.0.2.1").ok();
}

#[test]
fn locations_are_read_without_a_server() {
    let site = Site::new();
    assert_eq!(site.run("location show alice@a.example --json").ok(), "[]\n");
    let out = site.run("location remove alice@a.example").ok();
    assert_eq!(out, "alice@a.example is not registered\n");
    site.run("location show alice@c.example").failed("is not served here");
}

#[test]
fn status_without_a_server_fails_and_says_how_to_start_one() {
    Site::new().run("status").failed("no rempart is running with this config");
}

#[test]
fn two_configs_live_side_by_side() {
    let site = Site::empty();
    for (name, domain) in [("one.json", "one.example"), ("two.json", "two.example")] {
        let folder = name.trim_end_matches(".json");
        let config = json!({
            "domains": [domain],
            "storage": { "sled": { "path": folder } },
            "control": format!("{folder}/control.sock"),
        });
        std::fs::write(site.path(name), config.to_string()).expect("a config");
        site.run(&format!("--config {name} subscriber add 101@{domain}")).ok();
    }
    let users = |name: &str| site.run(&format!("subscriber list --json --config {name}")).json();
    assert_eq!(users("one.json")[0]["user"], "101@one.example");
    assert_eq!(users("two.json")[0]["user"], "101@two.example");
    assert!(site.path("one").is_dir() && site.path("two").is_dir());
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let site = Site::new();
    let lines: String = (0..2_000).map(|n| format!("user{n}\ta.example\tsecret\n")).collect();
    site.feed("subscriber import -", &lines).ok();
    let mut child = Command::new(env!("CARGO_BIN_EXE_rempart"))
        .args(["subscriber", "list", "--json"])
        .current_dir(site.folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    drop(child.stdout.take());
    let run = Run::of("subscriber list --json", child.wait_with_output().expect("it ends"));
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{run:?}");
}
