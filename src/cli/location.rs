//! `rempart location`: where users are registered.

use clap::Subcommand;

use super::listing::{Listing, say};
use super::{Desk, Failure};
use crate::admin::{AdminReply, AdminRequest, Who};
use crate::config::Config;

/// Commands of `location`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the bindings of a user
    Show {
        /// The user
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
        /// Write JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove the bindings of a user; the phone is back with its next registration
    Remove {
        /// The user
        #[arg(value_name = "USER@DOMAIN")]
        user: String,
    },
}

impl Command {
    /// Does it.
    pub fn carry_out(&self, config: Config) -> Result<(), Failure> {
        let mut desk = Desk::open(config)?;
        match self {
            Self::Show { user, json } => show(&mut desk, Who { user: user.clone() }, *json),
            Self::Remove { user } => {
                let who = Who { user: user.clone() };
                Ok(say(&desk.tell(&AdminRequest::LocationRemove(who))?)?)
            }
        }
    }
}

const COLUMNS: [&str; 6] = ["user", "contact", "q", "source", "expires", "user agent"];

fn show(desk: &mut Desk, who: Who, json: bool) -> Result<(), Failure> {
    let mut listing = Listing::new(json, &COLUMNS, "not registered");
    desk.ask(&AdminRequest::LocationShow(who), &mut |row| {
        let AdminReply::Binding(row) = row else { return };
        let agent = row.user_agent.as_deref().unwrap_or_default();
        let q = row.q.to_string();
        listing.row(&row, &[&row.user, &row.contact, &q, &row.source, &row.expires, agent]);
    })?;
    Ok(listing.end()?)
}
