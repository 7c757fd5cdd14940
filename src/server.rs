//! The server in the foreground.

use std::error::Error;

use crate::config::Config;

/// Runs the server until it is told to stop.
pub fn run(_config: Config) -> Result<(), Box<dyn Error>> {
    Err("the server is not built in yet".into())
}
