//! What a test says about the server before it starts: configuration, users, trusted addresses.

use serde_json::{Value, json};

use super::kamailio;
use super::listing::Listing;
use super::subject::{self, Subject};

/// The domain that every subject serves.
pub const DOMAIN: &str = "sip.example.org";

/// A subject before its start. The shipped defaults hold for whatever is not said.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Keys laid over the smallest working config.json.
    pub config: Value,
    /// Users of [`DOMAIN`] with the passwords of [`password_of`].
    pub users: Vec<String>,
    /// Host part of the listeners.
    pub host: String,
    /// Whether it also listens on `[::1]`.
    pub ipv6: bool,
    /// Whether it also listens on TLS.
    pub tls: bool,
    /// What the peer runs against guessed passwords, word for word; its repaired form otherwise.
    pub listing: Option<Listing>,
}

impl Setup {
    /// The defaults, on 127.0.0.1, without any user.
    pub fn new() -> Self {
        Self {
            config: json!({}),
            users: Vec::new(),
            host: "127.0.0.1".into(),
            ipv6: false,
            tls: false,
            listing: None,
        }
    }

    /// With these users.
    pub fn users(names: &[&str]) -> Self {
        let users = names.iter().map(ToString::to_string).collect();
        Self { users, ..Self::new() }
    }

    /// Lays keys over the configuration; objects are merged, everything else replaced.
    pub fn config(mut self, keys: Value) -> Self {
        overlay(&mut self.config, keys);
        self
    }

    /// Without the flood limit, for tests that send a lot.
    pub fn no_flood(self) -> Self {
        self.config(json!({ "flood": null }))
    }

    /// The guard mode of the seed's second listing, or another.
    pub fn guard(self, mode: &str) -> Self {
        self.config(json!({ "guard": { "mode": mode } }))
    }

    /// Has the peer run this listing of the seed as printed; Rempart keeps its own guard.
    pub fn peer_listing(mut self, listing: Listing) -> Self {
        self.listing = Some(listing);
        self
    }

    /// Trusts an address as `config.json` does.
    pub fn trusted(self, entry: Value) -> Self {
        let mut entries = self.config["trusted"].as_array().cloned().unwrap_or_default();
        entries.push(entry);
        self.config(json!({ "trusted": entries }))
    }

    /// Sends PSTN numbers to this gateway, which is not probed.
    pub fn gateway(self, address: impl std::fmt::Display) -> Self {
        self.gateways(json!([format!("sip:{address};transport=udp")]))
    }

    /// Sends PSTN numbers to these gateways, written as the config does; they are not probed.
    pub fn gateways(self, gateways: Value) -> Self {
        self.config(json!({ "routing": { "pstn": { "gateways": gateways, "probe": null } } }))
    }

    /// Listens on another host address.
    pub fn host(mut self, host: &str) -> Self {
        self.host = host.to_string();
        self
    }

    /// Listens on the IPv6 loopback address as well.
    pub fn with_ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    /// Listens on TLS as well, a port above the others.
    pub fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts the subject named by `REMPART_SUBJECT`.
    pub fn start(self) -> Subject {
        match std::env::var("REMPART_SUBJECT").as_deref() {
            Ok("kamailio") => kamailio::start(&self),
            Ok("rempart") | Err(_) => subject::start(&self),
            Ok(other) => panic!("REMPART_SUBJECT is rempart or kamailio, not {other}"),
        }
    }

    /// The whole config.json for this port.
    pub fn complete(&self, port: u16) -> Value {
        let hosts = [self.host.as_str()].into_iter().chain(self.ipv6.then_some("[::1]"));
        let mut listen: Vec<String> = hosts
            .flat_map(|host| [format!("udp:{host}:{port}"), format!("tcp:{host}:{port}")])
            .collect();
        listen.extend(self.tls.then(|| format!("tls:{}:{}", self.host, port + 1)));
        let mut config = json!({
            "listen": listen,
            "domains": [DOMAIN],
            "storage": { "sled": { "path": "data" } },
            "control": "data/control.sock",
            "log": { "level": "info", "format": "json" },
        });
        overlay(&mut config, self.config.clone());
        config
    }
}

/// The password every test user has.
pub fn password_of(user: &str) -> String {
    format!("secret of {user}, 42")
}

fn overlay(base: &mut Value, keys: Value) {
    match (base, keys) {
        (Value::Object(base), Value::Object(keys)) => {
            for (key, value) in keys {
                overlay(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, value) => *base = value,
    }
}
