//! Log lines to standard output: one per decision, RFC 3339 in UTC, as text or JSON.
//!
//! Values taken from messages are fields of their own, given as strings or with `?`, which the
//! formatter escapes, so that a line is always one line; `%` is for our own types only.

use std::fmt;
use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::config::{Log, LogFormat, LogLevel};
use crate::timestamp::now_rfc3339;

/// Starts logging for this process. A second call changes nothing, so that embedders' loggers stay.
pub fn start(log: &Log) {
    let lines = tracing_subscriber::fmt().with_max_level(level(log.level)).with_timer(Utc);
    // Whoever installed a subscriber before us keeps it.
    drop(match log.format {
        LogFormat::Text => {
            let ansi = std::io::stdout().is_terminal();
            lines.with_ansi(ansi).with_target(false).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    });
}

fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, out: &mut Writer<'_>) -> fmt::Result {
        out.write_str(&now_rfc3339())
    }
}
