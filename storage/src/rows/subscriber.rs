//! Subscribers: digest secrets by address of record.

use rempart_sip::digest::Ha1;
use rempart_sip::uri::Aor;
use serde::{Deserialize, Serialize};

use super::{Row, collect, for_each, from_json, get, put, remove, to_json};
use crate::{Store, StoreError, Table, hex};

/// Who may register and call: an address of record and what proves it. The password itself is
/// nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    /// Address of record; its domain is the realm of the secret.
    pub aor: Aor,
    /// Digest secret.
    pub ha1: Ha1,
    /// When it was added, in Unix seconds.
    pub created: u64,
    /// When the secret was changed last, in Unix seconds.
    pub changed: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    aor: String,
    md5: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    created: u64,
    changed: u64,
}

impl Row for Subscriber {
    const TABLE: Table = Table::Subscribers;

    fn key(&self) -> Vec<u8> {
        self.aor.as_str().into()
    }

    fn value(&self) -> Vec<u8> {
        to_json(&Written {
            aor: self.aor.as_str().into(),
            md5: hex::encode(&self.ha1.md5),
            sha256: self.ha1.sha256.map(|hash| hex::encode(&hash)),
            created: self.created,
            changed: self.changed,
        })
    }

    fn read(value: &[u8]) -> Result<Self, String> {
        let row: Written = from_json(value)?;
        let sha256 = row.sha256.map(|text| hex::decode_exact(&text).ok_or("bad SHA-256"));
        let md5 = hex::decode_exact(&row.md5).ok_or("bad MD5")?;
        Ok(Self {
            aor: Aor::parse(&row.aor).ok_or("bad address of record")?,
            ha1: Ha1 { md5, sha256: sha256.transpose()? },
            created: row.created,
            changed: row.changed,
        })
    }
}

/// Adds a subscriber or takes the place of the one with this address.
pub fn put_subscriber(store: &dyn Store, row: &Subscriber) -> Result<(), StoreError> {
    put(store, row)
}

/// The subscriber of an address of record.
pub fn subscriber(store: &dyn Store, aor: &Aor) -> Result<Option<Subscriber>, StoreError> {
    get(store, aor.as_str().as_bytes())
}

/// Removes one; false where there was none.
pub fn remove_subscriber(store: &dyn Store, aor: &Aor) -> Result<bool, StoreError> {
    remove::<Subscriber>(store, aor.as_str().as_bytes())
}

/// Every subscriber, in order of addresses.
pub fn for_each_subscriber(
    store: &dyn Store,
    row: impl FnMut(Subscriber),
) -> Result<(), StoreError> {
    for_each(store, b"", row)
}

/// Every subscriber as a list.
pub fn subscribers(store: &dyn Store) -> Result<Vec<Subscriber>, StoreError> {
    collect(store, b"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Batch, MemoryStore};

    fn row(user: &str) -> Subscriber {
        let aor = Aor::new(user.as_bytes(), "example.org").expect("an address");
        let ha1 = Ha1::new(user, "example.org", "secret");
        Subscriber { aor, ha1, created: 1, changed: 2 }
    }

    #[test]
    fn a_subscriber_is_found_replaced_and_removed() {
        let store = MemoryStore::new();
        let mut first = row("101");
        put_subscriber(&store, &first).expect("a write");
        first.ha1.sha256 = None;
        put_subscriber(&store, &first).expect("a write");
        assert_eq!(subscriber(&store, &first.aor).expect("a read"), Some(first.clone()));
        assert!(remove_subscriber(&store, &first.aor).expect("a removal"));
        assert!(!remove_subscriber(&store, &first.aor).expect("a removal"));
        assert_eq!(subscriber(&store, &first.aor).expect("a read"), None);
    }

    #[test]
    fn a_batch_of_subscribers_is_listed_in_order() {
        let (store, mut batch) = (MemoryStore::new(), Batch::new());
        ["103", "101", "102"].map(row).iter().for_each(|row| row.stage(&mut batch));
        store.commit(batch).expect("a commit");
        assert_eq!(subscribers(&store).expect("rows"), ["101", "102", "103"].map(row));
    }

    #[test]
    fn a_subscriber_with_half_a_hash_is_refused() {
        let value = br#"1{"aor":"101@example.org","md5":"00","created":1,"changed":1}"#;
        assert_eq!(Subscriber::read(value), Err("bad MD5".into()));
    }
}
