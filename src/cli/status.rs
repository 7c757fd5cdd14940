//! `rempart status` and `rempart reload`: what only a running server can do.

use std::time::Duration;

use clap::Args;

use super::Failure;
use super::listing::{Listing, say};
use crate::admin::{AdminReply, AdminRequest, DecisionsRow, StatusRow};
use crate::config::{Config, period};
use crate::control::Client;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Status {
    /// Asks the server; fails if there is none.
    pub fn show(&self, config: &Config) -> Result<(), Failure> {
        let mut client = server(config)?;
        let mut status = None;
        client.ask(&AdminRequest::Status, &mut |row| {
            if let AdminReply::Status(row) = row {
                status = Some(row);
            }
        })?;
        let status = status.unwrap_or_default();
        if self.json {
            let text = serde_json::to_string_pretty(&status).unwrap_or_default();
            use std::io::Write;
            return Ok(writeln!(std::io::stdout(), "{text}")?);
        }
        for (name, value) in lines(&status) {
            say(&format!("{name:<16}{value}"))?;
        }
        gateways(&status)
    }
}

/// Makes the server read its config again and says what is in force.
pub fn reload(config: &Config) -> Result<(), Failure> {
    let done = server(config)?.ask(&AdminRequest::Reload, &mut |_| {})?;
    Ok(say(&done.text)?)
}

fn server(config: &Config) -> Result<Client, Failure> {
    Client::connect(&config.control)?.ok_or_else(|| {
        Failure::Message(format!(
            "{}: no rempart is running with this config; start it with `rempart run`",
            config.control.display()
        ))
    })
}

fn gateways(status: &StatusRow) -> Result<(), Failure> {
    if status.gateways.is_empty() {
        return Ok(());
    }
    say("")?;
    let columns = ["gateway", "state", "since", "last failure"];
    let mut listing = Listing::new(false, &columns, "no gateways");
    for row in &status.gateways {
        let reason = row.reason.as_deref().unwrap_or("-");
        listing.row(row, &[&row.uri, &row.state, &row.since, reason]);
    }
    Ok(listing.end()?)
}

fn remembered(decisions: &DecisionsRow) -> String {
    let DecisionsRow { known, strangers } = decisions;
    format!("{known} on known users and peers, {strangers} on strangers; see rempart explain")
}

fn lines(status: &StatusRow) -> Vec<(String, String)> {
    let uptime = period::text(Duration::from_secs(status.uptime_secs));
    let mut lines: Vec<(String, String)> = [
        ("version", status.version.clone()),
        ("process", status.pid.to_string()),
        ("started", format!("{} ({uptime} ago)", status.started)),
        ("listeners", status.listeners.join(" ")),
        ("registrations", status.registrations.to_string()),
        ("transactions", status.transactions.to_string()),
        ("calls", status.calls.to_string()),
        ("bans", status.bans.to_string()),
        ("suspensions", status.suspensions.to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec();
    lines.extend(status.certificates.iter().map(|row| {
        let (key, until) = (&row.key, &row.not_after);
        let says = row.warning().unwrap_or_else(|| format!("good until {until}"));
        ("certificate".to_owned(), format!("{key}: {says}"))
    }));
    lines.push(("decisions".to_owned(), remembered(&status.decisions)));
    lines.push(("refused".to_owned(), status.refused.to_string()));
    let refusals = status.refusals.iter();
    lines.extend(refusals.map(|(id, count)| (format!("  {id} "), count.to_string())));
    let counters = status.counters.iter();
    let counters = counters.filter(|(name, count)| **count > 0 && !name.starts_with("refusal:"));
    lines.extend(counters.map(|(name, count)| (format!("{name} "), count.to_string())));
    lines
}
