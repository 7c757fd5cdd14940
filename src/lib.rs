//! Rempart as a library: the config, the command line and the server around the actors.

pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod logging;
pub mod server;
pub mod timestamp;
pub mod tls;
pub mod transport;
