//! SIP for a server on the public internet, without sockets, clocks or globals.
//!
//! Bytes, time and randomness come in as arguments; decisions and bytes go out. The compiler keeps
//! it so: this crate depends on no runtime, no store and no socket.

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
