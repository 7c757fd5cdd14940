//! The running server: its folder, its process, its log.

use std::fs::File;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::command::{self, BINARY, Finished};
use super::link::Link;
use super::phone::Phone;
use super::setup::{DOMAIN, Setup, password_of};
use super::transcript::Transcript;
use super::{PATIENCE, eventually};

/// How often a start is tried again because another program took the port in between.
const STARTS_MAX: usize = 5;

/// A server that runs, or ran: dropping it kills the process and, in a failed test, prints what
/// was said on the wire and the end of the log.
pub struct Subject {
    /// Folder with config.json, data and logs; deleted with the subject.
    pub folder: TempDir,
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    /// Every message of the test.
    pub transcript: Transcript,
    /// How the process is started.
    pub program: (PathBuf, Vec<String>),
    child: Option<Child>,
}

/// Starts Rempart as set up.
pub fn start(setup: &Setup) -> Subject {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("config.json");
    let args = vec!["--config".into(), config.to_string_lossy().into_owned(), "run".into()];
    let mut subject = Subject::new(folder, (BINARY.into(), args));
    subject.choose_port(setup);
    subject.provision(&setup.users);
    for _ in 0..STARTS_MAX {
        if subject.try_start() {
            return subject;
        }
        subject.choose_port(setup);
    }
    panic!("no free port in {STARTS_MAX} starts: {}", subject.log());
}

impl Subject {
    /// A subject that has not started yet.
    pub fn new(folder: TempDir, program: (PathBuf, Vec<String>)) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { folder, address, transcript: Transcript::new(), program, child: None }
    }

    /// Picks a port that is free for UDP and TCP, and writes config.json with it.
    fn choose_port(&mut self, setup: &Setup) {
        self.address.set_port(free_port());
        self.write_config(&setup.complete(self.address.port()));
    }

    /// Writes config.json.
    pub fn write_config(&self, config: &Value) {
        let text = serde_json::to_string_pretty(config).expect("JSON prints");
        std::fs::write(self.config_path(), text).expect("config.json is written");
    }

    /// Path of config.json.
    pub fn config_path(&self) -> PathBuf {
        self.folder.path().join("config.json")
    }

    fn provision(&self, users: &[String]) {
        if users.is_empty() {
            return;
        }
        let rows = users.iter().map(|user| format!("{user}\t{DOMAIN}\t{}\n", password_of(user)));
        let file = self.folder.path().join("users.tsv");
        std::fs::write(&file, rows.collect::<String>()).expect("the list is written");
        self.command(&["subscriber", "import", &file.to_string_lossy()]).ok();
    }

    /// Starts the process; false when its port was taken in the meantime.
    pub fn try_start(&mut self) -> bool {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"));
        let log = log.expect("a log file");
        let (program, args) = &self.program;
        let child = Command::new(program)
            .args(args)
            .current_dir(self.folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stderr(Stdio::from(log.try_clone().expect("a second handle")))
            .stdout(Stdio::from(log))
            .spawn();
        self.child = Some(child.expect("the server starts"));
        self.wait_until_it_answers()
    }

    /// Starts it again, on the same port, with the same store.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "stopped before it is started again");
        assert!(self.try_start(), "the server starts again: {}", self.log());
    }

    fn wait_until_it_answers(&mut self) -> bool {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a timeout");
        let deadline = Instant::now() + PATIENCE * 2;
        while Instant::now() < deadline {
            if let Some(code) = self.exited() {
                let log = self.log();
                assert!(log.contains("in use"), "the server exits with {code}: {log}");
                return false;
            }
            let probe = probe(&socket, self.address);
            // Nobody listens yet: the send itself may fail.
            let _ = socket.send_to(probe.as_bytes(), self.address);
            let mut answer = [0; 2048];
            if socket.recv(&mut answer).is_ok() {
                return true;
            }
        }
        panic!("the server does not answer: {}", self.log());
    }

    /// Its exit code once it has ended; -1 for a signal.
    pub fn exited(&mut self) -> Option<i32> {
        let child = self.child.as_mut()?;
        let status = child.try_wait().expect("the process can be asked")?;
        self.child = None;
        Some(status.code().unwrap_or(-1))
    }

    /// Process id.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("the server runs").id() as i32
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: plain system call on a process that we started and have not reaped.
        let sent = unsafe { libc::kill(self.pid(), signal) };
        assert_eq!(sent, 0, "the signal is sent");
    }

    /// Ends it and its children at once, as a power cut does for the process.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // SAFETY: plain system call on the group of a process that we started and have not
            // reaped; it may have ended by itself, so the result says nothing.
            unsafe { libc::kill(-(child.id() as i32), libc::SIGKILL) };
            let _ = child.wait();
        }
    }

    /// Asks it to stop and returns its exit code.
    pub fn stop(&mut self) -> i32 {
        self.signal(libc::SIGTERM);
        eventually("the server stops on SIGTERM", || self.exited())
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Every log line that names this event, as JSON.
    pub fn events(&self, event: &str) -> Vec<Value> {
        let log = self.log();
        let lines = log.lines().filter(|line| line.contains(&format!("\"{event}\"")));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first log line that names this event, waited for.
    pub fn event(&self, event: &str) -> Value {
        eventually(&format!("log event {event}"), || self.events(event).into_iter().next())
    }

    /// Runs a command of the binary on this server's config.
    pub fn command(&self, args: &[&str]) -> Finished {
        command::run(&self.config_path(), args, "")
    }

    /// The same with a standard input.
    pub fn command_with(&self, args: &[&str], input: &str) -> Finished {
        command::run(&self.config_path(), args, input)
    }

    /// Output of a listing command with `--json`.
    pub fn listing(&self, args: &[&str]) -> Value {
        self.command(&[args, &["--json"]].concat()).ok().json()
    }

    /// A UDP phone of a local user at 127.0.0.`last`.
    pub fn phone(&self, user: &str, last: u8) -> Phone {
        let link = Link::udp(IpAddr::from([127, 0, 0, last]));
        Phone::new(link, self.address, user, self.transcript.clone())
    }

    /// A TCP phone of a local user at 127.0.0.`last`.
    pub fn tcp_phone(&self, user: &str, last: u8) -> Phone {
        let link = Link::tcp(IpAddr::from([127, 0, 0, last]), self.address);
        Phone::new(link, self.address, user, self.transcript.clone())
    }

    /// Where it listens on TLS.
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::new(self.address.ip(), self.address.port() + 1)
    }

    /// A TLS phone of a local user at 127.0.0.`last`.
    pub fn tls_phone(&self, user: &str, last: u8) -> Phone {
        let link = Link::tls(IpAddr::from([127, 0, 0, last]), self.tls_address());
        Phone::new(link, self.tls_address(), user, self.transcript.clone())
    }

    /// A UDP phone of a local user on the IPv6 loopback address.
    pub fn ipv6_phone(&self, user: &str) -> Phone {
        let link = Link::udp(Ipv6Addr::LOCALHOST.into());
        let server = SocketAddr::from((Ipv6Addr::LOCALHOST, self.address.port()));
        Phone::new(link, server, user, self.transcript.clone())
    }

    /// Someone of another domain: his own address.
    pub fn stranger(&self, last: u8) -> Phone {
        self.stranger_at(IpAddr::from([127, 0, 0, last]))
    }

    /// The same at any address.
    pub fn stranger_at(&self, ip: IpAddr) -> Phone {
        let link = Link::udp(ip);
        let mut phone = Phone::new(link, self.address, "stranger", self.transcript.clone());
        phone.aor = format!("sip:stranger@{}", phone.local);
        phone
    }

    /// URI of a user of the served domain.
    pub fn uri(&self, user: &str) -> String {
        format!("sip:{user}@{DOMAIN}")
    }

    /// The server's own URI, without user.
    pub fn own_uri(&self) -> String {
        format!("sip:{}", self.address)
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let end = lines[lines.len().saturating_sub(30)..].join("\n");
            eprintln!("== messages\n{}\n== end of the log\n{end}", self.transcript.text());
        }
    }
}

/// The value of a field anywhere in a log line.
pub fn field<'a>(line: &'a Value, name: &str) -> Option<&'a str> {
    match line {
        Value::Object(map) => {
            let here = map.get(name).and_then(Value::as_str);
            here.or_else(|| map.values().find_map(|value| field(value, name)))
        }
        _ => None,
    }
}

/// A port of 127.0.0.1 that was free for UDP and TCP a moment ago, and the next one for TLS.
pub fn free_port() -> u16 {
    eventually("a port free for UDP and TCP", || {
        let tcp = TcpListener::bind("127.0.0.1:0").ok()?;
        let port = tcp.local_addr().ok()?.port();
        UdpSocket::bind(("127.0.0.1", port)).ok()?;
        TcpListener::bind(("127.0.0.1", port.checked_add(1)?)).ok()?;
        Some(port)
    })
}

fn probe(socket: &UdpSocket, server: SocketAddr) -> String {
    let local = socket.local_addr().expect("a bound socket has an address");
    let branch = super::unique("z9hG4bKup");
    format!(
        "OPTIONS sip:{server} SIP/2.0\r\nVia: SIP/2.0/UDP {local};rport;branch={branch}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:harness@{local}>;tag=up\r\nTo: <sip:{server}>\r\n\
         Call-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    )
}
