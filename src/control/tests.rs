//! The socket between a real client and a server whose live part is a stand-in.

use std::cell::RefCell;
use std::os::unix::fs::PermissionsExt;

use rempart_actors::decisions::{Asked, Told};
use rempart_sip::uri::Aor;
use rempart_storage::{Ban, MemoryStore};

use super::*;
use crate::admin::{Account, BanRow, BindingRow, Lift, Secret, StatusRow, Who};
use crate::config::Config;

#[derive(Default)]
struct StandIn {
    heard: RefCell<Vec<String>>,
}

impl StandIn {
    fn hear(&self, what: impl ToString) -> Result<(), AdminError> {
        self.heard.borrow_mut().push(what.to_string());
        Ok(())
    }
}

impl Live for StandIn {
    async fn subscriber_changed(&self, aors: &[Aor]) -> Result<(), AdminError> {
        aors.iter().try_for_each(|aor| self.hear(aor))
    }
    async fn trusted_changed(&self) -> Result<(), AdminError> {
        self.hear("trusted")
    }
    async fn bans(&self) -> Result<Vec<BanRow>, AdminError> {
        Ok(Vec::new())
    }
    async fn explain(&self, asked: &Asked) -> Result<Told, AdminError> {
        self.hear(format!("{asked:?}")).map(|()| Told::default())
    }
    async fn ban(&self, ban: &Ban) -> Result<(), AdminError> {
        self.hear(ban.source)
    }
    async fn unban(&self, lift: &Lift) -> Result<u64, AdminError> {
        self.hear(lift).map(|()| 2)
    }
    async fn locations(&self, _: &Aor) -> Result<Vec<BindingRow>, AdminError> {
        Err(AdminError("no locations here".to_owned()))
    }
    async fn remove_location(&self, _: &Aor) -> Result<u64, AdminError> {
        Ok(1)
    }
    async fn status(&self) -> Result<StatusRow, AdminError> {
        Ok(StatusRow { pid: 7, ..StatusRow::default() })
    }
    async fn reload(&self) -> Result<Done, AdminError> {
        self.hear("reload").map(|()| Done::new("in force", 1))
    }
}

/// Runs `script` on a thread of its own against a served socket; returns what the stand-in heard.
fn served(script: impl FnOnce(&Path) + Send + 'static) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    let json = r#"{ "domains": ["a.example"] }"#;
    let config = Config::parse(json, Path::new("c.json")).expect("a config");
    let office = Office::new(Arc::new(config), Arc::new(MemoryStore::new()));
    let live = Rc::new(StandIn::default());
    actix_rt::System::new().block_on(async {
        let listener = bind(&path).expect("a socket");
        let server = actix_rt::spawn(serve(listener, office, live.clone()));
        let socket = path.clone();
        tokio::task::spawn_blocking(move || script(&socket)).await.expect("the script runs");
        server.abort();
        drop(server.await);
    });
    assert!(!path.exists(), "the socket is removed");
    live.heard.take()
}

fn ask(path: &Path, request: &AdminRequest) -> (Vec<AdminReply>, Result<Done, AdminError>) {
    let mut rows = Vec::new();
    let mut client = Client::connect(path).expect("a socket").expect("a server");
    let done = client.ask(request, &mut |row| rows.push(row));
    (rows, done)
}

fn account(user: &str) -> Account {
    Account { user: user.to_owned(), secret: Secret::Password("secret".to_owned()) }
}

#[test]
fn a_change_is_stored_and_then_told_to_the_server() {
    let heard = served(|path| {
        let (_, done) = ask(path, &AdminRequest::SubscriberAdd(account("alice@a.example")));
        assert_eq!(done, Ok(Done::new("added alice@a.example", 1)));
        let (_, again) = ask(path, &AdminRequest::SubscriberAdd(account("alice@a.example")));
        assert!(again.is_err_and(|error| error.0.contains("alice@a.example exists")));
        let (rows, _) = ask(path, &AdminRequest::SubscriberList);
        assert_eq!(rows.len(), 1);
        let lift = Lift { address: "192.0.2.1".parse().ok(), user: None };
        let (_, done) = ask(path, &AdminRequest::Unban(lift));
        assert_eq!(done.map(|done| done.count), Ok(2));
    });
    assert_eq!(heard, ["alice@a.example", "192.0.2.1"]);
}

#[test]
fn what_only_the_server_knows_comes_from_it() {
    served(|path| {
        let (rows, done) = ask(path, &AdminRequest::Status);
        assert!(matches!(rows.as_slice(), [AdminReply::Status(row)] if row.pid == 7));
        assert_eq!(done, Ok(Done::new("", 1)));
        let who = Who { user: "alice@a.example".to_owned() };
        let (_, done) = ask(path, &AdminRequest::LocationShow(who.clone()));
        assert_eq!(done, Err(AdminError("no locations here".to_owned())));
        let (_, done) = ask(path, &AdminRequest::LocationRemove(who));
        assert_eq!(done, Ok(Done::new("removed 1 binding of alice@a.example", 1)));
    });
}

#[test]
fn what_is_no_request_is_answered_and_the_connection_stays() {
    use std::io::{BufRead, Write};
    served(|path| {
        let mut stream = std::os::unix::net::UnixStream::connect(path).expect("a server");
        stream.write_all(b"{}\n{\"do\":\"status\"}\n").expect("two lines");
        let mut lines = std::io::BufReader::new(stream).lines();
        let mut next = || lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(next().contains("this is no request"));
        assert!(next().contains("\"reply\":\"status\""));
    });
}

#[test]
fn an_endless_line_ends_the_connection() {
    use std::io::{Read, Write};
    served(|path| {
        let mut stream = std::os::unix::net::UnixStream::connect(path).expect("a server");
        stream.write_all(&vec![b'x'; LINE_MAX]).expect("a long line");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and the end");
        assert!(answer.contains("one line of at most"), "{answer}");
    });
}

#[test]
fn the_socket_is_the_owners_and_there_is_one_server() {
    served(|path| {
        let mode = std::fs::metadata(path).expect("a socket").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let _context = runtime.as_ref().expect("a runtime").enter();
        let second = bind(path);
        assert!(second.is_err_and(|error| error.to_string().contains("another rempart")));
    });
}

#[test]
fn a_stale_socket_is_replaced_and_a_file_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let _context = runtime.as_ref().expect("a runtime").enter();
    drop(bind(&path).expect("the stale socket is replaced"));
    std::fs::write(&path, "a file").expect("a file");
    assert!(matches!(bind(&path), Err(SocketError::Occupied { .. })));
    assert!(Client::connect(&folder.path().join("none")).is_ok_and(|client| client.is_none()));
}
