//! Durations as people write them: `"300s"`, `"2s"`, `"15m"`, `"500ms"`, `"1h"`, `"1d"`, or a
//! number of seconds. Used as `#[serde(with = "period")]` on a [`Duration`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserializer, Serializer, de};

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const EXPECTED: &str = "a duration such as \"300s\", \"2s\", \"15m\", \"500ms\", \"1h\", \"1d\", \
                        or a number of seconds";

/// Reads one duration, to the millisecond; `None` if it is none, or beyond 64 bits.
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "s" } else { unit.trim_start() };
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(*millis)?))
}

/// Reads a number of seconds, fractions allowed; `None` if negative or too large.
pub fn from_secs(secs: f64) -> Option<Duration> {
    let duration = Duration::try_from_secs_f64(secs).ok()?;
    Some(Duration::from_millis(u64::try_from(duration.as_millis()).ok()?))
}

/// Reads a duration on the command line; the error says what is expected.
pub fn argument(text: &str) -> Result<Duration, String> {
    parse(text).ok_or_else(|| format!("expected {EXPECTED}"))
}

/// Writes a duration in seconds, or in milliseconds where seconds do not express it.
pub fn text(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

/// The serde side of [`text`].
pub fn serialize<S: Serializer>(duration: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_str(&text(*duration))
}

/// The serde side of [`parse`] and [`from_secs`].
pub fn deserialize<'de, D: Deserializer<'de>>(source: D) -> Result<Duration, D::Error> {
    source.deserialize_any(PeriodVisitor)
}

/// A duration or null, as `#[serde(with = "period::optional")]`.
pub mod optional {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    /// As [`super::serialize`], or null.
    pub fn serialize<S: Serializer>(period: &Option<Duration>, out: S) -> Result<S::Ok, S::Error> {
        match period {
            Some(period) => super::serialize(period, out),
            None => out.serialize_none(),
        }
    }

    /// As [`super::deserialize`], or null.
    pub fn deserialize<'de, D>(source: D) -> Result<Option<Duration>, D::Error>
    where
        D: Deserializer<'de>,
    {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Given(#[serde(with = "super")] Duration);
        let given = Option::<Given>::deserialize(source)?;
        Ok(given.map(|Given(period)| period))
    }
}

struct PeriodVisitor;

impl de::Visitor<'_> for PeriodVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Duration, E> {
        parse(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Duration, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Duration, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Duration, E> {
        from_secs(value).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
    }
}

/// Stands for a duration in the JSON Schema.
pub struct Text;

impl JsonSchema for Text {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)?$" },
                { "type": "number", "minimum": 0 },
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (text, millis) in [
            ("500ms", 500),
            ("2s", 2_000),
            ("300", 300_000),
            ("15m", 900_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "s", "-1s", "1w", "1.5s", "s1", "99999999999999999999s"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for secs in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(from_secs(secs), None);
        }
    }

    #[test]
    fn text_is_read_back() {
        for millis in [100, 1_000, 1_500, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&text(duration)), Some(duration));
        }
    }
}
