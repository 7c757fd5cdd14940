//! The server's own secret, made once and kept, so that nonces and seals outlive a restart.

use rand::TryRngCore;
use rand::rngs::OsRng;
use rempart_sip::seal::Keys;
use serde::{Deserialize, Serialize};

use super::{Row, from_json, get, put, to_json};
use crate::{Store, StoreError, Table, hex};

const KEY: &[u8] = b"seal";

/// [`Keys`] are another crate's, so the row wraps them.
struct KeysRow(Keys);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    current: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

impl Row for KeysRow {
    const TABLE: Table = Table::Keys;

    fn key(&self) -> Vec<u8> {
        KEY.into()
    }

    fn value(&self) -> Vec<u8> {
        let previous = self.0.previous.map(|key| hex::encode(&key));
        to_json(&Written { current: hex::encode(&self.0.current), previous })
    }

    fn read(value: &[u8]) -> Result<Self, String> {
        let row: Written = from_json(value)?;
        let key = |text: &str| hex::decode_exact(text).ok_or("bad key");
        let previous = row.previous.as_deref().map(key).transpose()?;
        Ok(Self(Keys { current: key(&row.current)?, previous }))
    }
}

/// The keys of this store, made from the system's randomness the first time.
pub fn load_or_create_keys(store: &dyn Store) -> Result<Keys, StoreError> {
    match get::<KeysRow>(store, KEY)? {
        Some(row) => Ok(row.0),
        None => keep(store, None),
    }
}

/// Makes a new key; what the old one made is honoured until the next rotation.
pub fn rotate_keys(store: &dyn Store) -> Result<Keys, StoreError> {
    let old = load_or_create_keys(store)?;
    keep(store, Some(old.current))
}

fn keep(store: &dyn Store, previous: Option<[u8; 32]>) -> Result<Keys, StoreError> {
    let mut current = [0; 32];
    OsRng.try_fill_bytes(&mut current).map_err(|error| {
        let source = std::io::Error::other(error);
        StoreError::io("the system's random source".as_ref(), "read it", source)
    })?;
    let row = KeysRow(Keys { current, previous });
    put(store, &row)?;
    Ok(row.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[test]
    fn keys_are_made_once_and_the_old_one_is_kept_through_a_rotation() {
        let store = MemoryStore::new();
        let first = load_or_create_keys(&store).expect("keys");
        assert!(load_or_create_keys(&store).expect("keys") == first);
        let second = rotate_keys(&store).expect("keys");
        assert_ne!(second.current, first.current);
        assert_eq!(second.previous, Some(first.current));
        assert!(load_or_create_keys(&store).expect("keys") == second);
    }
}
