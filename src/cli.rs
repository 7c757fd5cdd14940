//! The command line: what each command is called and which code it ends with. 0 is done, 1 is
//! failed with one line on standard error, 2 is wrong usage.

mod ban;
mod check;
mod desk;
mod explain;
mod init;
mod listing;
mod location;
mod status;
mod subscriber;
mod trust;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::desk::Desk;
use crate::admin::AdminError;
use crate::config::{Config, ConfigError};
use crate::tls::TlsError;

/// A SIP server for the public internet, with its guards built in.
#[derive(Debug, Parser)]
#[command(name = "rempart", version, arg_required_else_help = true)]
struct Arguments {
    /// The config file
    #[arg(long, global = true, value_name = "FILE", default_value = "config.json")]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server in the foreground
    Run,
    /// Read the config as `run` would and say what it means
    Check(check::Check),
    /// Write a short, safe config for a domain; never overwrites
    Init(init::Init),
    /// Users and their passwords
    #[command(subcommand)]
    Subscriber(subscriber::Command),
    /// The address table: sources that may send without a password
    #[command(subcommand)]
    Trust(trust::Command),
    /// Bans of sources and suspensions of users
    #[command(subcommand)]
    Ban(ban::Command),
    /// Lift all bans and suspensions of a source or a user
    Unban(ban::Unban),
    /// Where users are registered
    #[command(subcommand)]
    Location(location::Command),
    /// Why recent requests were refused or allowed, and what undoes it
    Explain(explain::Explain),
    /// How the running server is
    Status(status::Status),
    /// Make the running server read its config again; a bad one changes nothing
    Reload,
}

/// Why a command failed.
#[derive(Debug)]
enum Failure {
    /// One line for the operator.
    Message(String),
    /// The command makes no sense as it was written.
    Usage(String),
    /// Whoever read our output has gone, which is not our failure.
    ReaderGone,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Message(text) | Self::Usage(text) => f.write_str(text),
            Self::ReaderGone => f.write_str("nobody reads the output"),
        }
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self::Message(error.0)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Message(error.to_string())
    }
}

impl From<io::Error> for Failure {
    /// An error of standard output; other files name themselves in a message.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => Self::Message(format!("standard output: {error}")),
        }
    }
}

/// Reads the command line, carries it out and says how it ended.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    match carry_out(&arguments) {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Message(text)) => {
            eprintln!("{text}");
            ExitCode::FAILURE
        }
        Err(Failure::Usage(text)) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
    }
}

fn carry_out(arguments: &Arguments) -> Result<(), Failure> {
    if let Command::Init(init) = &arguments.command {
        return init.write(&arguments.config);
    }
    let config = Config::load(&arguments.config)?;
    match &arguments.command {
        Command::Init(_) => Ok(()),
        Command::Run => run(config, arguments),
        Command::Check(check) => check.report(config, &arguments.config),
        Command::Subscriber(command) => command.carry_out(config),
        Command::Trust(command) => command.carry_out(config),
        Command::Ban(command) => command.carry_out(config),
        Command::Unban(unban) => unban.carry_out(config),
        Command::Location(command) => command.carry_out(config),
        Command::Explain(explain) => explain.show(config),
        Command::Status(status) => status.show(&config),
        Command::Reload => status::reload(&config),
    }
}

fn run(config: Config, arguments: &Arguments) -> Result<(), Failure> {
    crate::logging::start(&config.log);
    crate::server::run(config, &arguments.config)
        .map_err(|error| Failure::Message(error.to_string()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(gone, Failure::ReaderGone));
    }
}
