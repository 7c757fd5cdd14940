//! config.json as types: every key documented, defaulted, ranged; an unknown one stops the start.
//!
//! Reading goes from coarse to fine, and every refusal names file, line, column and key path: is
//! it JSON, does a key stand twice, is a number out of range, do types and keys fit, do the values
//! agree with each other.

pub mod accounts;
pub mod check;
mod error;
pub mod guard;
pub mod limits;
pub mod listen;
pub mod names;
pub mod period;
pub mod position;
pub mod ranges;
pub mod routing;
mod rules;
pub mod schema;
pub mod tls;
pub mod trusted;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rempart_sip::flow::Transport;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::check::{Finding, check};
pub use self::error::ConfigError;
use self::position::Positions;

/// Everything `config.json` says, with the defaults for what it does not say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// For editors: where the JSON Schema is; the server does not read it.
    #[serde(rename = "$schema", skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// The sockets to listen on; `[::]` takes IPv6 only.
    pub listen: Vec<listen::Listener>,
    /// The name or address Via and Record-Route carry: one, or one per listener; null: our own.
    pub advertise: listen::Advertise,
    /// The host names served; the first is the realm of all our addresses too.
    pub domains: Vec<String>,
    /// Where subscribers, bans and bindings are kept.
    pub storage: Storage,
    /// The control socket, which the command line speaks to.
    pub control: PathBuf,
    /// Logging, to standard output.
    pub log: Log,
    /// The web listener with metrics and the status page.
    pub admin: Admin,
    /// Sources that may send without credentials, besides those of `rempart trust add`.
    pub trusted: Vec<trusted::TrustedEntry>,
    /// The flood rule; null: off.
    pub flood: Option<guard::Flood>,
    /// The dictionary guard.
    pub guard: guard::Guard,
    /// Known attack tools; null: not told apart.
    pub scanners: Option<guard::Scanners>,
    /// Digest authentication.
    pub auth: accounts::Auth,
    /// Registration.
    pub registrar: accounts::Registrar,
    /// Where requests that are not for our users go.
    pub routing: routing::Routing,
    /// Where requests may be sent.
    pub egress: routing::Egress,
    /// Transaction timers.
    pub timers: limits::Timers,
    /// Name resolution.
    pub dns: routing::Dns,
    /// TLS.
    pub tls: tls::Tls,
    /// Bounds of what strangers can make us hold.
    pub limits: limits::Limits,
}

impl Default for Config {
    fn default() -> Self {
        let everywhere = [(Transport::Udp, "0.0.0.0"), (Transport::Tcp, "0.0.0.0")]
            .into_iter()
            .chain([(Transport::Udp, "[::]"), (Transport::Tcp, "[::]")])
            .chain([(Transport::Tls, "0.0.0.0"), (Transport::Tls, "[::]")]);
        let listener = |(transport, ip): (Transport, &str)| {
            let address = listen::socket_address(ip, transport.default_port())?;
            Some(listen::Listener { transport, address })
        };
        Self {
            schema: None,
            listen: everywhere.filter_map(listener).collect(),
            advertise: listen::Advertise::Own,
            domains: Vec::new(),
            storage: Storage { sled: Some(SledFolder::default()), memory: None },
            control: "data/control.sock".into(),
            log: Log::default(),
            admin: Admin::default(),
            trusted: Vec::new(),
            flood: Some(guard::Flood::default()),
            guard: guard::Guard::default(),
            scanners: Some(guard::Scanners::default()),
            auth: accounts::Auth::default(),
            registrar: accounts::Registrar::default(),
            routing: routing::Routing::default(),
            egress: routing::Egress::default(),
            timers: limits::Timers::default(),
            dns: routing::Dns::default(),
            tls: tls::Tls::default(),
            limits: limits::Limits::default(),
        }
    }
}

impl Config {
    /// Reads and checks the file; relative paths in it are made to start at its folder.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            let remedy = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "; write one with \"rempart init DOMAIN\", or name another with --config"
                }
                _ => "",
            };
            ConfigError::of_file(file, format!("cannot read it: {error}{remedy}"))
        })?;
        let mut config = Self::parse(&text, file)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        config.control = folder.join(&config.control);
        if let Some(sled) = &mut config.storage.sled {
            sled.path = folder.join(&sled.path);
        }
        config.tls.resolve(folder);
        Ok(config)
    }

    /// Reads and checks a text; `file` is only named in errors, and paths stay as written.
    pub fn parse(text: &str, file: &Path) -> Result<Self, ConfigError> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| ConfigError::of_syntax(file, &error))?;
        let positions = Positions::of(text);
        if let Some(path) = positions.duplicate.clone() {
            let message = "stands twice; remove one".to_owned();
            return Err(ConfigError::of_key(file, &positions, path, message));
        }
        let defaults = serde_json::to_value(Self::default()).unwrap_or_default();
        if let Some(path) = misplaced_list(&value, &defaults, "") {
            return Err(ConfigError::of_value(
                file,
                &positions,
                path,
                "no list belongs here".into(),
            ));
        }
        if let Some(outside) = ranges::first_outside(&value, &defaults) {
            return Err(ConfigError::of_value(file, &positions, outside.path, outside.message));
        }
        let source = &mut serde_json::Deserializer::from_str(text);
        let mut config: Self = serde_path_to_error::deserialize(source).map_err(|error| {
            let path = error.path().to_string();
            ConfigError::of_type(file, &positions, path, error.inner())
        })?;
        match rules::settle(&mut config) {
            Ok(()) => Ok(config),
            Err((path, message)) => Err(ConfigError::of_value(file, &positions, path, message)),
        }
    }
}

/// The path of a list that stands for an object, which serde would read as its values in order.
fn misplaced_list(value: &Value, default: &Value, path: &str) -> Option<String> {
    match (value, default) {
        (Value::Array(_), Value::Object(_)) => Some(path.to_owned()),
        (Value::Object(map), Value::Object(defaults)) => map.iter().find_map(|(key, value)| {
            misplaced_list(value, defaults.get(key)?, &position::child(path, key))
        }),
        // No list has lists in it.
        (Value::Array(list), _) => {
            let inner = list.iter().position(Value::is_array)?;
            Some(format!("{path}[{inner}]"))
        }
        _ => None,
    }
}

/// Where what must survive is kept: one home, a folder unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// A folder with a sled database and the journal of bindings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sled: Option<SledFolder>,
    /// Memory, for trials: everything is lost when the server stops.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

impl Storage {
    /// The folder, or `None` when everything is kept in memory.
    pub fn folder(&self) -> Option<&Path> {
        self.sled.as_ref().map(|sled| sled.path.as_path())
    }
}

/// A folder on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SledFolder {
    /// The folder; made on first start, readable by the server's user only.
    pub path: PathBuf,
}

impl Default for SledFolder {
    fn default() -> Self {
        Self { path: "data".into() }
    }
}

/// Memory has no settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What failed here.
    Error,
    /// What deserves a look.
    Warn,
    /// One line per decision.
    #[default]
    Info,
    /// One line per message.
    Debug,
    /// Everything.
    Trace,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Logging, to standard output.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How much: `off`, `error`, `warn`, `info`, `debug` or `trace`.
    pub level: LogLevel,
    /// `text` for people, `json` for programs.
    pub format: LogFormat,
}

/// The web listener.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// `"127.0.0.1:9090"` or the like; null: none. It asks for no password, so keep it inside.
    #[schemars(with = "Option<String>")]
    pub listen: Option<SocketAddr>,
}
