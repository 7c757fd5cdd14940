//! Rempart's storage: one trait with two homes, and the journal of bindings beside them.
//!
//! [`Store`] keeps what is small and rarely written (subscribers, trusted addresses, bans,
//! suspensions, keys): [`SledStore`] on disk, [`MemoryStore`] for trials and tests. Bindings
//! change thousands of times a second and live in memory; [`Journal`] writes each change down so
//! that a killed server finds every phone again. What a folder holds:
//!
//! | name | is |
//! |---|---|
//! | `lock`, `bindings.lock` | held by the process that has the store, or the journal, open |
//! | `sled/` | the database |
//! | `exports/` | checksummed copies of all rows, taken every ten minutes when something changed |
//! | `bindings.journal` | the journal |
//! | `self-signed.pem`, `.key` | the TLS pair of a first start, made and read by the server |
//! | `*.damaged-<unix time>` | what did not open and was replaced, kept for inspection |

mod error;
mod export;
mod format;
mod hex;
mod journal;
mod lock;
mod memory;
pub mod rows;

mod sled;
mod store;
pub mod suite;

pub use self::error::StoreError;
pub use self::export::{export, import};
pub use self::journal::Journal;
pub use self::memory::MemoryStore;
pub use self::rows::{
    Ban, Evidence, Reach, Row, Subscriber, Suspension, TicketKey, TrustedAddress, ban, bans,
    for_each_ban, for_each_subscriber, for_each_suspension, for_each_trusted, load_or_create_keys,
    put_ban, put_subscriber, put_suspension, put_ticket_keys, put_trusted, remove_ban,
    remove_ended, remove_subscriber, remove_suspensions, remove_trusted, rotate_keys, subscriber,
    subscribers, suspensions, ticket_keys, trusted,
};
pub use self::sled::{Options, SledStore};
pub use self::store::{Batch, Change, FORMAT, Store, Table};

/// Wall time in Unix seconds: what is persisted ends by it.
fn now_unix() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
