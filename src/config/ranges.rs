//! The range of every number and duration in the config: one table, from which values are checked,
//! the JSON Schema gets its bounds, and the tests know what to try.

use std::time::Duration;

use serde_json::Value;

use super::period;
use super::position::child;

/// What a key may hold, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Range {
    /// Whole numbers.
    Number(u64, u64),
    /// Durations in milliseconds.
    Millis(u64, u64),
}

/// One row of the table.
#[derive(Debug)]
pub struct Ranged {
    /// The key path; `[]` stands for every element of a list.
    pub path: &'static str,
    /// What it may hold.
    pub range: Range,
    /// What to do instead of what a value outside was meant to do; empty: take the default.
    pub remedy: &'static str,
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

const FLOOD_OFF: &str = "to switch the flood rule off write \"flood\": null";
const GUARD_OFF: &str = "to switch the guard off write \"guard\": { \"mode\": \"off\" }";

const fn number(path: &'static str, min: u64, max: u64, remedy: &'static str) -> Ranged {
    Ranged { path, range: Range::Number(min, max), remedy }
}

const fn millis(path: &'static str, min: u64, max: u64, remedy: &'static str) -> Ranged {
    Ranged { path, range: Range::Millis(min, max), remedy }
}

/// Every ranged key. Lower ends are small enough for tests that run scaled.
pub const RANGES: [Ranged; 26] = [
    number("trusted[].group", 1, 65_535, ""),
    number("trusted[].port", 1, 65_535, "leave it out for any port"),
    number("flood.requests", 1, 1_000_000, FLOOD_OFF),
    millis("flood.window", 100, HOUR, FLOOD_OFF),
    millis("flood.ban", SECOND, DAY, FLOOD_OFF),
    millis("flood.forget", 100, HOUR, ""),
    number("guard.failures", 1, 1_000, GUARD_OFF),
    millis("guard.suspend", SECOND, DAY, GUARD_OFF),
    millis("guard.forget", SECOND, 7 * DAY, ""),
    millis("auth.nonce_life", SECOND, DAY, ""),
    millis("registrar.expires.min", SECOND, DAY, ""),
    millis("registrar.expires.default", SECOND, 30 * DAY, ""),
    millis("registrar.expires.max", SECOND, 30 * DAY, ""),
    number("registrar.contacts_max", 1, 100, ""),
    number("routing.pstn.gateways[].weight", 1, 1_000, "leave the gateway out to use it no more"),
    millis("routing.pstn.probe", 100, HOUR, "to send no probes write \"probe\": null"),
    millis("routing.pstn.try_next_after", 100, MINUTE, ""),
    millis("timers.t1", 100, 10 * SECOND, ""),
    millis("timers.final_response", 100, 10 * MINUTE, ""),
    millis("timers.answer", 100, HOUR, ""),
    number("limits.message", 1_300, 65_535, ""),
    millis("limits.message_deadline", 100, 10 * MINUTE, ""),
    number("limits.sources", 16, 16_777_216, ""),
    number("limits.tcp_connections", 1, 1_000_000, "to take no TCP leave it out of listen"),
    number("limits.tcp_connections_per_source", 1, 1_000_000, ""),
    number("limits.transactions", 16, 16_777_216, ""),
];

/// A value outside its range: its exact path, and the sentence to print.
#[derive(Debug, PartialEq, Eq)]
pub struct Outside {
    /// The path with indices: `trusted[2].port`.
    pub path: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// The first value in `config` that is outside its range. Absent keys hold their defaults and
/// values of the wrong type are left to the typed reading, which says more about them.
pub fn first_outside(config: &Value, defaults: &Value) -> Option<Outside> {
    RANGES.iter().find_map(|ranged| {
        visit(config, "", ranged.path, &mut |path, value| {
            ranged.outside(value, defaults).map(|message| Outside { path, message })
        })
    })
}

/// Calls `each` for every value that `pattern` names, until it returns something.
fn visit<R>(
    value: &Value,
    path: &str,
    pattern: &str,
    each: &mut dyn FnMut(String, &Value) -> Option<R>,
) -> Option<R> {
    let (key, rest) = pattern.split_once('.').unwrap_or((pattern, ""));
    let name = key.strip_suffix("[]").unwrap_or(key);
    let (value, path) = (value.get(name)?, child(path, name));
    if key == name {
        return descend(value, path, rest, each);
    }
    let list = value.as_array()?;
    let mut elements = list.iter().enumerate();
    elements.find_map(|(index, element)| descend(element, format!("{path}[{index}]"), rest, each))
}

fn descend<R>(
    value: &Value,
    path: String,
    rest: &str,
    each: &mut dyn FnMut(String, &Value) -> Option<R>,
) -> Option<R> {
    if rest.is_empty() { each(path, value) } else { visit(value, &path, rest, each) }
}

impl Ranged {
    fn outside(&self, value: &Value, defaults: &Value) -> Option<String> {
        if self.range.holds(value)? {
            return None;
        }
        let remedy = match self.remedy {
            "" => match visit(defaults, "", self.path, &mut |_, value| Some(value.to_string())) {
                Some(default) => format!("leave it out for the default, {default}"),
                None => "leave it out for the default".to_owned(),
            },
            remedy => remedy.to_owned(),
        };
        Some(format!("{value} is outside {}; {remedy}", self.range))
    }
}

impl Range {
    /// Whether a value is within; `None` if it is of another type.
    fn holds(self, value: &Value) -> Option<bool> {
        let (given, min, max) = match self {
            Self::Number(min, max) => (value.as_f64()?, min, max),
            Self::Millis(min, max) => (millis_of(value)?, min, max),
        };
        Some((min as f64..=max as f64).contains(&given))
    }
}

fn millis_of(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => Some(period::parse(text)?.as_millis() as f64),
        _ => Some(value.as_f64()? * 1_000.0),
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let text = |millis| period::text(Duration::from_millis(millis));
        match *self {
            Self::Number(min, max) => write!(f, "{min} to {max}"),
            Self::Millis(min, max) => write!(f, "{} to {}", text(min), text(max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::Config;

    fn defaults() -> Value {
        serde_json::to_value(Config::default()).expect("the default config is JSON")
    }

    #[test]
    fn the_defaults_are_within() {
        assert_eq!(first_outside(&defaults(), &defaults()), None);
    }

    #[test]
    fn the_message_names_value_range_and_remedy() {
        let outside = first_outside(&json!({ "flood": { "requests": 0 } }), &defaults());
        let outside = outside.expect("0 is outside");
        assert_eq!(outside.path, "flood.requests");
        assert_eq!(
            outside.message,
            "0 is outside 1 to 1000000; to switch the flood rule off write \"flood\": null"
        );
        let outside = first_outside(&json!({ "timers": { "t1": "1ms" } }), &defaults());
        let message = outside.expect("1 ms is outside").message;
        assert_eq!(
            message,
            "\"1ms\" is outside 100ms to 10s; leave it out for the default, \"500ms\""
        );
    }

    #[test]
    fn an_element_of_a_list_is_named_by_its_index() {
        let config = json!({ "trusted": [{ "port": 5060 }, { "port": 70_000 }] });
        let outside = first_outside(&config, &defaults()).expect("70000 is outside");
        assert_eq!(outside.path, "trusted[1].port");
    }

    #[test]
    fn fractions_and_negative_numbers_of_seconds_are_ranged() {
        let t1 = |value: Value| first_outside(&json!({ "timers": { "t1": value } }), &defaults());
        assert_eq!(t1(json!(0.5)), None);
        assert!(t1(json!(-1)).is_some());
        assert!(t1(json!(1e30)).is_some());
        assert_eq!(t1(json!([])), None);
    }
}
