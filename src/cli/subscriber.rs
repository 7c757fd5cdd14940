//! `rempart subscriber`: users and their passwords.

mod import;

use std::io::{self, BufRead, Read};

use clap::{Args, Subcommand};
use rand::Rng;

use super::listing::{Listing, say};
use super::{Desk, Failure};
use crate::admin::{Account, AdminReply, AdminRequest, Secret, Who};
use crate::config::Config;

/// Letters and digits that nobody takes for each other.
const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
/// 24 of 56 characters are 139 bits: no captured digest of it is ever guessed.
const GENERATED_LENGTH: usize = 24;
/// Longest password read, in bytes.
const PASSWORD_MAX: usize = 1_024;

/// Commands of `subscriber`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a user; without --password-stdin a strong password is made and printed once
    Add(Named),
    /// Give a user another password
    Passwd(Named),
    /// Remove a user
    Remove {
        /// The user
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
    },
    /// Show all users
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one user; never the secret
    Show {
        /// The user
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Load many users: lines of user TAB domain TAB password, or `ha1:` and hex digits. Refused
    /// lines are named and the rest is loaded; exit code 1 only if all were refused
    Import(import::Import),
}

/// Arguments of `add` and `passwd`.
#[derive(Debug, Args)]
pub struct Named {
    /// The user; one of our domains after the @
    #[arg(value_name = "USER@DOMAIN")]
    user: String,
    /// Read the password from standard input, one line
    #[arg(long, conflicts_with = "generate")]
    password_stdin: bool,
    /// Make a strong password and print it once; the default
    #[arg(long)]
    generate: bool,
}

impl Command {
    /// Does it.
    pub fn carry_out(&self, config: Config) -> Result<(), Failure> {
        match self {
            Self::Add(named) => named.set(config, AdminRequest::SubscriberAdd),
            Self::Passwd(named) => named.set(config, AdminRequest::SubscriberPasswd),
            Self::Remove { user } => {
                let request = AdminRequest::SubscriberRemove(Who { user: user.clone() });
                Ok(say(&Desk::open(config)?.tell(&request)?)?)
            }
            Self::List { json } => list(config, &AdminRequest::SubscriberList, *json),
            Self::Show { user, json } => {
                list(config, &AdminRequest::SubscriberShow(Who { user: user.clone() }), *json)
            }
            Self::Import(import) => import.load(config),
        }
    }
}

impl Named {
    /// A generated password is the only thing on standard output, so that a script can take it.
    fn set(
        &self,
        config: Config,
        request: impl FnOnce(Account) -> AdminRequest,
    ) -> Result<(), Failure> {
        let password = if self.password_stdin { read_password()? } else { generate() };
        let secret = Secret::Password(password.clone());
        let request = request(Account { user: self.user.clone(), secret });
        let done = Desk::open(config)?.tell(&request)?;
        if self.password_stdin {
            return Ok(say(&done)?);
        }
        eprintln!("{done}; this password is shown once:");
        Ok(say(&password)?)
    }
}

fn read_password() -> Result<String, Failure> {
    let failed = |why: &str| Failure::Message(format!("password on standard input: {why}"));
    let mut line = Vec::new();
    let mut input = io::stdin().lock().take(PASSWORD_MAX as u64 + 2);
    input.read_until(b'\n', &mut line).map_err(|error| failed(&error.to_string()))?;
    let text = String::from_utf8(line).map_err(|_| failed("is not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    match text.len() {
        0 => Err(failed("is empty")),
        length if length > PASSWORD_MAX => Err(failed("is longer than 1024 bytes")),
        _ => Ok(text.to_owned()),
    }
}

fn generate() -> String {
    let mut random = rand::rng();
    let mut letter = || ALPHABET.get(random.random_range(0..ALPHABET.len())).copied();
    let letters = std::iter::from_fn(|| letter().map(char::from));
    letters.take(GENERATED_LENGTH).collect()
}

fn list(config: Config, request: &AdminRequest, json: bool) -> Result<(), Failure> {
    let columns = ["user", "created", "password changed", "algorithms"];
    let mut listing = Listing::new(json, &columns, "no users");
    Desk::open(config)?.ask(request, &mut |row| {
        let AdminReply::Subscriber(row) = row else { return };
        let algorithms = row.algorithms.join(",");
        listing.row(&row, &[&row.user, &row.created, &row.changed, &algorithms]);
    })?;
    Ok(listing.end()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_passwords_are_long_and_differ() {
        let (first, second) = (generate(), generate());
        assert_eq!(first.len(), GENERATED_LENGTH);
        assert_ne!(first, second);
        assert!(first.bytes().all(|byte| ALPHABET.contains(&byte)));
    }
}
