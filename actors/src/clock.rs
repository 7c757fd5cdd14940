//! The one place that reads clocks: the runtime's, so that a paused test clock is obeyed, and the
//! wall's for what is persisted.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The runtime's monotonic time.
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Wall time in seconds since 1970.
pub fn now_unix() -> u64 {
    since_1970().as_secs()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Milliseconds since 1970 that never go back: wall time at the start, monotonic from there.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    started_unix_ms: u64,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { started: now(), started_unix_ms: since_1970().as_millis() as u64 }
    }

    /// The Unix milliseconds at `now`.
    pub fn unix_ms(&self, now: Instant) -> u64 {
        self.started_unix_ms + now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// The Unix milliseconds at the start; what is older was made by an earlier run.
    pub fn started_unix_ms(&self) -> u64 {
        self.started_unix_ms
    }

    /// How long it has run.
    pub fn uptime(&self) -> Duration {
        now().saturating_duration_since(self.started)
    }
}
