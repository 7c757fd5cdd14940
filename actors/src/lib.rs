//! Rempart's actors, embeddable in any actix system: the walk of one message from the gate to the
//! relay, in the order in which refusing costs more; and the flood limit and the dictionary guard
//! for programs that have nothing to do with SIP.
//!
//! # A tour: SIP in your program
//!
//! 1. [`settings::Settings::new`] has the seed's values; its fields are yours to change. It wants
//!    the domains you serve ([`names::Names`]) and the addresses you listen on.
//! 2. [`shared::Homes`] is what must be there before: a store (`rempart_storage` has one on disk
//!    and one in memory), the journal of bindings with what it replayed, and a resolver of names.
//! 3. A [`wire::Wire`] is your transport. Per shard it gives an [`wire::Outbox`], where messages
//!    leave, and gets a [`door::Door`], where they enter: ask whether the source is banned before
//!    you copy anything, push into a batch, deliver it.
//! 4. [`Edge::start`] builds the shards, each on an arbiter of its own.
//! 5. Subscribers are rows of the store; [`Edge::reload_subscriber`] puts a changed row in force.
//! 6. [`Edge`] answers operators: bans, suspensions, bindings, why a request was refused.
//! 7. [`Edge::close`] ends it.
//!
//! All of it in one program, whose wire is a channel:
//!
//! ```
//! use std::net::{IpAddr, SocketAddr};
//! use std::sync::mpsc::{SyncSender, sync_channel};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use rempart_actors::Edge;
//! use rempart_actors::door::Door;
//! use rempart_actors::location::Location;
//! use rempart_actors::names::Names;
//! use rempart_actors::settings::{Listener, Settings};
//! use rempart_actors::shared::Homes;
//! use rempart_actors::wire::{Batch, Outbox, Resolved, Resolver, SendToken, Wire};
//! use rempart_sip::digest::Ha1;
//! use rempart_sip::flow::{Flow, Transport};
//! use rempart_sip::uri::Aor;
//! use rempart_storage::{Journal, MemoryStore, Subscriber, put_subscriber};
//!
//! const QUESTION: &[u8] = b"OPTIONS sip:example.org SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bK1\r\n\
//!     Max-Forwards: 70\r\n\
//!     From: <sip:101@example.org>;tag=1\r\n\
//!     To: <sip:example.org>\r\n\
//!     Call-ID: 1\r\n\
//!     CSeq: 1 OPTIONS\r\n\r\n";
//!
//! /// What leaves goes into a channel.
//! struct Tape(SyncSender<Vec<u8>>);
//!
//! impl Outbox for Tape {
//!     fn send(&mut self, _to: &Flow, message: &[u8], _token: Option<SendToken>) {
//!         self.0.try_send(message.to_vec()).ok();
//!     }
//!
//!     fn flush(&mut self) {}
//!
//!     fn local_for(&mut self, _: Transport, _remote: IpAddr) -> Option<SocketAddr> {
//!         Some(([192, 0, 2, 1], 5060).into())
//!     }
//!
//!     fn is_open(&self, _: &Flow) -> bool {
//!         true
//!     }
//! }
//!
//! impl Wire for Tape {
//!     fn outbox(&self, _shard: usize) -> Box<dyn Outbox> {
//!         Box::new(Tape(self.0.clone()))
//!     }
//!
//!     /// One message arrives.
//!     fn open(&self, _shard: usize, door: Door) {
//!         let (local, remote) = (([192, 0, 2, 1], 5060).into(), ([198, 51, 100, 7], 5060).into());
//!         let flow = Flow { transport: Transport::Udp, local, remote, connection: 0 };
//!         if !door.is_banned(&flow) {
//!             door.deliver(Batch::of(flow, QUESTION)).ok();
//!         }
//!     }
//! }
//!
//! struct NoNames;
//!
//! impl Resolver for NoNames {
//!     fn resolve(&self, name: String, done: Box<dyn FnOnce(Resolved) + Send>) {
//!         done(Err(format!("{name} is not looked up")));
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let address = ([192, 0, 2, 1], 5060).into();
//! let names = Names::new(&["example.org".to_owned()], &[], &[address]);
//! let listener = Listener { transport: Transport::Udp, address, advertise: None };
//! let settings = Settings::new(names, vec![listener]);
//! let store = Arc::new(MemoryStore::new());
//! let (journal, location) = (Journal::in_memory(), Location::default());
//! let homes = Homes { store: store.clone(), journal, location, resolver: Arc::new(NoNames) };
//! let (sent, heard) = sync_channel(16);
//!
//! actix::System::new().block_on(async {
//!     let edge = Edge::start(settings, homes, Arc::new(Tape(sent)), 1).await?;
//!     let aor = Aor::new(b"101", "example.org").ok_or("no address of record")?;
//!     let ha1 = Ha1::new("101", "example.org", "a long secret");
//!     put_subscriber(&*store, &Subscriber { aor: aor.clone(), ha1, created: 0, changed: 0 })?;
//!     edge.reload_subscriber(&aor)?;
//!     let answer = heard.recv_timeout(Duration::from_secs(60))?;
//!     assert!(answer.starts_with(b"SIP/2.0 200 "));
//!     assert_eq!((edge.bindings(&aor).len(), edge.bans().await.len()), (0, 0));
//!     edge.close();
//!     Ok(())
//! })
//! # }
//! ```
//!
//! `examples/embed.rs` does it with a UDP socket and a phone that registers.
//!
//! # A tour: the guards alone
//!
//! A program with a login of any kind needs no edge: a [`flood::Flood`] alone counts one source and
//! answers, a [`guard_desk::GuardDesk`] judges attempts and starts an [`auth_guard::AuthGuard`] for
//! who has failed. [`directory::Directory`] holds the actors of many keys within a maximum,
//! [`bans::Bans`] and [`suspensions::Suspensions`] outlive them. [`flood`] and [`auth_guard`] begin
//! with a small program each; `examples/login_guard.rs` protects an actix-web login.
//!
//! # The actors and their messages
//!
//! - [`gate::Gate`], from [`Edge::gate`]: [`BanSource`](gate::BanSource),
//!   [`UnbanSource`](gate::UnbanSource) says whether there was a ban,
//!   [`ListBans`](gate::ListBans) gives the bans.
//! - [`flood::Flood`], started by you: [`Hit`](flood::Hit) gives a [`Verdict`](meter::Verdict); it
//!   sends [`Banned`](flood::Banned) to whom you named.
//! - [`router::Router`], from [`Edge::router`]: [`ForgetBindings`](subscriber::ForgetBindings)
//!   gives their number, [`ForgetFailures`](router::ForgetFailures) ends guards.
//! - [`auth_guard::AuthGuard`], from a [`guard_desk::Ruling`] or started by you:
//!   [`Attempt`](auth_guard::Attempt) gives a [`Judgement`](auth_guard::Judgement).
//! - [`subscriber::Subscriber`], started by you, one per address of record:
//!   [`Register`](subscriber::Register) gives the bindings or the refusal.
//!
//! What the actors of an edge say to each other on the packet path has no answer: nobody waits
//! ([`flood::Metered`], [`router::Admitted`], [`digest_guard::DigestAttempt`],
//! [`subscriber::WaitingRegister`]). Ban and suspension rows are written by a thread, not an actor:
//! [`shared::Shared::write`] hands them over ([`scribe`]).
//!
//! # The walk, each stage a module
//!
//! | stage | does |
//! |---|---|
//! | [`door`] | drops the banned unread, bounds the work in hand ([`ticket`]) |
//! | [`gate`] | lets the [`trusted`] pass, counts the rest in a fixed table ([`sources`]) |
//! | [`flood`] | an actor per busy source: owns its window ([`meter`]) and the ban's beginning |
//! | [`router`] | parses, absorbs retransmissions, asks who it is, applies [`policy`], relays |
//! | [`auth_guard`] | an actor per pair that has failed; suspensions are at the [`guard_desk`] |
//! | [`subscriber`] | an actor per subscriber in use: the registrar of its address of record |
//! | [`location`] | bindings, read by all shards |
//! | [`identity`] | whose certificates a TLS connection was made with |
//! | [`egress`] | where a request may be sent at all |
//! | [`gateways`] | which way to the telephone network, and which gateways work |
//!
//! Everything that grows has a maximum and sheds beyond it ([`counters`]). Time is read in
//! [`clock`] only.

pub mod accounts;
pub mod auth_guard;
pub mod bans;
pub mod clock;
pub mod counters;
pub mod decisions;
pub mod digest_guard;
pub mod directory;
pub mod door;
mod edge;
pub mod egress;
pub mod flood;
pub mod gate;
pub mod gateways;
pub mod guard_desk;
pub mod identity;
pub mod location;
pub mod meter;
pub mod names;
pub mod nonce_uses;
pub mod policy;
mod relay;
pub mod router;
pub mod scribe;
pub mod settings;
pub mod shared;
pub mod sources;
pub mod subscriber;
pub mod suspensions;
pub mod tally;
pub mod ticket;
mod transactions;
pub mod trusted;
pub mod wire;

#[cfg(test)]
mod tests;

pub use edge::Edge;
