//! The keys of TLS session tickets, kept so that phones come back without a full handshake after a
//! restart too. One row holds them all.

use serde::{Deserialize, Serialize};

use super::{Row, from_json, get, put, to_json};
use crate::{Store, StoreError, Table, hex};

const KEY: &[u8] = b"tickets";

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TicketKey {
    /// What tickets are sealed with.
    pub secret: [u8; 32],
    /// When it was made, in Unix seconds.
    pub made: u64,
}

struct TicketsRow(Vec<TicketKey>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    secret: String,
    made: u64,
}

impl Row for TicketsRow {
    const TABLE: Table = Table::Keys;

    fn key(&self) -> Vec<u8> {
        KEY.into()
    }

    fn value(&self) -> Vec<u8> {
        let written =
            |key: &TicketKey| Written { secret: hex::encode(&key.secret), made: key.made };
        to_json(&self.0.iter().map(written).collect::<Vec<_>>())
    }

    fn read(value: &[u8]) -> Result<Self, String> {
        let rows: Vec<Written> = from_json(value)?;
        let read = |row: Written| {
            let secret = hex::decode_exact(&row.secret).ok_or("bad key")?;
            Ok(TicketKey { secret, made: row.made })
        };
        Ok(Self(rows.into_iter().map(read).collect::<Result<_, &str>>()?))
    }
}

/// The keys, in the order they were put.
pub fn ticket_keys(store: &dyn Store) -> Result<Vec<TicketKey>, StoreError> {
    Ok(get::<TicketsRow>(store, KEY)?.map(|row| row.0).unwrap_or_default())
}

/// Keeps these keys and no others.
pub fn put_ticket_keys(store: &dyn Store, keys: &[TicketKey]) -> Result<(), StoreError> {
    put(store, &TicketsRow(keys.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[test]
    fn keys_come_back_in_order() {
        let store = MemoryStore::new();
        assert_eq!(ticket_keys(&store).expect("none yet"), []);
        let keys = [TicketKey { secret: [1; 32], made: 2 }, TicketKey { secret: [3; 32], made: 1 }];
        put_ticket_keys(&store, &keys).expect("a write");
        assert_eq!(ticket_keys(&store).expect("keys"), keys);
    }
}
