//! The guards' settings: flood, dictionary guard, known scanners. guard.md calls them the card.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::period;

/// The flood rule: the request after `requests` in any `window` bans its source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Flood {
    /// How many requests one source may send within the window.
    pub requests: u32,
    /// The window the requests are counted in.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub window: Duration,
    /// How long a source that sent more is banned.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub ban: Duration,
    /// After this long without a request a source's count is forgotten.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub forget: Duration,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            requests: 16,
            window: Duration::from_secs(2),
            ban: Duration::from_secs(300),
            forget: Duration::from_secs(4),
        }
    }
}

/// How wrong passwords and floods are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuardMode {
    /// Counts per user and source, knows the places a user comes from, needs proof to silence.
    #[default]
    Adaptive,
    /// Counts per source and user, and a ban silences the whole address.
    SeedIpUser,
    /// Counts per user, wherever the attempts come from, and a ban silences the whole address.
    SeedUser,
    /// Counts no wrong passwords.
    Off,
}

/// The dictionary guard: after `failures` wrong passwords the pair is suspended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guard {
    /// Whose failures are counted together, and what a ban does.
    pub mode: GuardMode,
    /// How many wrong passwords suspend.
    pub failures: u32,
    /// How long a suspension lasts.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub suspend: Duration,
    /// After this long without a failure the count is forgotten.
    #[serde(with = "period")]
    #[schemars(with = "period::Text")]
    pub forget: Duration,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            mode: GuardMode::Adaptive,
            failures: 3,
            suspend: Duration::from_secs(900),
            forget: Duration::from_secs(920),
        }
    }
}

/// What a known scanner is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ScannerAnswer {
    /// 200 OK, and nothing else happens.
    #[default]
    Ok,
    /// Nothing.
    Silence,
}

/// Requests of known attack tools, told by their User-Agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scanners {
    /// Product names as they stand before the slash in User-Agent, case-insensitive.
    pub user_agents: Vec<String>,
    /// What they are told: `ok` (200 OK) or `silence`.
    pub answer: ScannerAnswer,
}

impl Default for Scanners {
    fn default() -> Self {
        let names = [
            "friendly-scanner",
            "friendly",
            "scanner",
            "sipcli",
            "sipvicious",
            "VaxSIPUserAgent",
            "pplsip",
        ];
        Self { user_agents: names.map(str::to_owned).to_vec(), answer: ScannerAnswer::Ok }
    }
}
