//! `rempart ban` and `rempart unban`.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};
use rempart_storage::Evidence;

use super::listing::{Listing, say};
use super::{Desk, Failure};
use crate::admin::{AdminReply, AdminRequest, Kind, Lift};
use crate::config::{Config, period};

/// The longest ban by hand.
const BAN_MAX: Duration = Duration::from_secs(365 * 86_400);

/// Commands of `ban`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show every ban and suspension: who, why, on what evidence, since and until when
    List {
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Ban a source
    Add {
        /// The source's address; of IPv6 its /64 is banned
        #[arg(value_name = "IP")]
        address: IpAddr,
        /// For how long
        #[arg(long = "for", value_name = "DURATION", default_value = "300s",
              value_parser = ban_period)]
        period: Duration,
        /// Why, as the list will say
        #[arg(long, value_name = "TEXT", default_value = "manual")]
        reason: String,
    },
}

fn ban_period(text: &str) -> Result<Duration, String> {
    let period = period::argument(text)?;
    if (Duration::from_secs(1)..=BAN_MAX).contains(&period) {
        Ok(period)
    } else {
        Err("outside 1s to 365d".to_owned())
    }
}

/// Arguments of `unban`.
#[derive(Debug, Args)]
pub struct Unban {
    /// An address, or USER@DOMAIN
    #[arg(value_name = "IP|USER@DOMAIN", value_parser = target)]
    target: Target,
    /// Of a user, only the suspension from this address
    #[arg(long, value_name = "IP")]
    from: Option<IpAddr>,
}

#[derive(Clone, Debug)]
enum Target {
    Address(IpAddr),
    User(String),
}

fn target(text: &str) -> Result<Target, String> {
    if let Ok(address) = text.parse() {
        return Ok(Target::Address(address));
    }
    match text.contains('@') {
        true => Ok(Target::User(text.to_owned())),
        false => Err("neither an IP address nor USER@DOMAIN".to_owned()),
    }
}

impl Command {
    /// Does it.
    pub fn carry_out(&self, config: Config) -> Result<(), Failure> {
        let mut desk = Desk::open(config)?;
        match self {
            Self::List { json } => list(&mut desk, *json),
            Self::Add { address, period, reason } => {
                let (address, reason) = (*address, reason.clone());
                let secs = period.as_secs().max(1);
                Ok(say(&desk.tell(&AdminRequest::BanAdd { address, secs, reason })?)?)
            }
        }
    }
}

impl Unban {
    /// Does it. That there was nothing to lift is said, and is no failure: what was asked holds.
    pub fn carry_out(&self, config: Config) -> Result<(), Failure> {
        let lift = match (&self.target, self.from) {
            (Target::Address(address), None) => Lift { address: Some(*address), user: None },
            (Target::User(user), address) => Lift { address, user: Some(user.clone()) },
            (Target::Address(_), Some(_)) => {
                let text = "--from goes with USER@DOMAIN; an address alone lifts everything of it";
                return Err(Failure::Usage(text.to_owned()));
            }
        };
        Ok(say(&Desk::open(config)?.tell(&AdminRequest::Unban(lift))?)?)
    }
}

const COLUMNS: [&str; 8] =
    ["kind", "address", "user", "rule", "reason", "evidence", "since", "until"];

fn list(desk: &mut Desk, json: bool) -> Result<(), Failure> {
    let mut listing = Listing::new(json, &COLUMNS, "nobody is banned or suspended");
    desk.ask(&AdminRequest::BanList, &mut |row| {
        let AdminReply::Ban(row) = row else { return };
        let evidence = match row.evidence {
            Evidence::Unproven => "unproven",
            Evidence::Proven => "proven",
            Evidence::Manual => "manual",
        };
        listing.row(
            &row,
            &[
                if row.kind == Kind::Ban { "ban" } else { "suspension" },
                row.address.as_deref().unwrap_or("any"),
                row.user.as_deref().unwrap_or("any"),
                &row.rule,
                &row.reason,
                evidence,
                &row.since,
                &row.until,
            ],
        );
    })?;
    Ok(listing.end()?)
}
