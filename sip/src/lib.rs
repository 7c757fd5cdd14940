//! SIP for a server on the public internet, without sockets, clocks or globals.
//!
//! Bytes, time and randomness come in as arguments; decisions and bytes go out. The compiler keeps
//! it so: this crate depends on no runtime, no store and no socket.
//!
//! | to | use |
//! |---|---|
//! | read | [`framing`] cuts a stream, [`scan`] indexes a message, [`message`] gives typed views |
//! | judge | [`screen`], [`uri`], [`digest`], [`seal`]; every no is a [`refusal::Refusal`] |
//! | keep state | [`transaction`]: the RFC's four machines, timers as data |
//! | register | [`registrar`]: bindings, a REGISTER and the time become new bindings |
//! | relay | [`proxy`] decides, [`edit`] writes what it decided |
//! | talk to others | [`vocabulary`]: to and from rsip's types |
//!
//! ```
//! use rempart_sip::message::{Index, Message, Method};
//! use rempart_sip::scan::scan;
//!
//! let octets = b"OPTIONS sip:example.org SIP/2.0\r\n\
//!     Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
//!     From: <sip:101@example.org>;tag=1\r\n\
//!     To: <sip:example.org>\r\n\
//!     Call-ID: 1\r\n\
//!     CSeq: 1 OPTIONS\r\n\r\n";
//! let mut index = Index::default();
//! scan(octets, &mut index).map_err(|malformed| malformed.reason)?;
//! let message = Message::new(octets, &index);
//! assert!(matches!(message.method(), Method::Options));
//! assert_eq!(message.call_id(), b"1");
//! # Ok::<(), &str>(())
//! ```

pub mod digest;
pub mod edit;
pub mod flow;
pub mod framing;
pub mod limits;
pub mod message;
pub mod proxy;
pub mod refusal;
pub mod registrar;
pub mod scan;
pub mod screen;
pub mod seal;
pub mod transaction;
pub mod uri;
pub mod vocabulary;
