//! `rempart explain`: why recent requests were refused or allowed, for people or as JSON.

use clap::Args;
use serde::Serialize;

use super::listing::{Listing, say};
use super::{Desk, Failure};
use crate::admin::{
    AdminReply, AdminRequest, BindingRow, DecisionRow, Kind, MemoryRow, StandingRow,
};
use crate::config::Config;

/// Arguments of `explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A Call-ID, an address, or a user who called, was called or registered
    #[arg(value_name = "CALL-ID|IP|USER@DOMAIN", value_parser = asked)]
    about: String,
    /// Write JSON
    #[arg(long)]
    json: bool,
}

/// An empty text names nobody, and a longer one than any message may be is no Call-ID.
fn asked(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("empty: name a Call-ID, an address or a user".to_owned()),
        text if text.len() > 4_096 => Err("longer than any Call-ID".to_owned()),
        text => Ok(text.to_owned()),
    }
}

/// A row of `--json`, told apart by `kind`; a ban brings its own.
#[derive(Serialize)]
struct Tagged<'a, T> {
    kind: &'static str,
    #[serde(flatten)]
    row: &'a T,
}

/// What came, to be shown in its order.
#[derive(Default)]
struct Answer {
    standing: Vec<StandingRow>,
    bindings: Vec<BindingRow>,
    decisions: Vec<DecisionRow>,
    memory: MemoryRow,
}

impl Explain {
    /// Does it. That nothing is known is said, and is no failure.
    pub fn show(&self, config: Config) -> Result<(), Failure> {
        let mut answer = Answer::default();
        let request = AdminRequest::Explain { about: self.about.clone() };
        Desk::open(config)?.ask(&request, &mut |row| answer.take(row))?;
        match self.json {
            true => Ok(answer.json()?),
            false => Ok(answer.text(&self.about)?),
        }
    }
}

impl Answer {
    fn take(&mut self, row: AdminReply) {
        match row {
            AdminReply::Standing(row) => self.standing.push(*row),
            AdminReply::Binding(row) => self.bindings.push(row),
            AdminReply::Decision(row) => self.decisions.push(*row),
            AdminReply::Memory(row) => self.memory = row,
            _ => {}
        }
    }

    fn json(&self) -> std::io::Result<()> {
        let mut listing = Listing::new(true, &[], "");
        self.standing.iter().for_each(|row| listing.row(row, &[]));
        let bindings = self.bindings.iter().map(|row| Tagged { kind: "binding", row });
        bindings.for_each(|row| listing.row(&row, &[]));
        let decisions = self.decisions.iter().map(|row| Tagged { kind: "decision", row });
        decisions.for_each(|row| listing.row(&row, &[]));
        listing.end()
    }

    fn text(&self, about: &str) -> std::io::Result<()> {
        let lines = self.standing.iter().flat_map(standing);
        let lines: Vec<String> = lines
            .chain(self.registered())
            .chain(self.decisions.iter().flat_map(decision))
            .collect();
        lines.iter().try_for_each(|line| say(line))?;
        self.end(about)
    }

    /// Where one of our users is registered, and what went wrong last.
    fn registered(&self) -> Vec<String> {
        let Some(user) = &self.memory.user else { return Vec::new() };
        let registered = |row: &BindingRow| {
            format!(
                "{user} is registered from {} until {}: {}",
                row.source, row.expires, row.contact
            )
        };
        let mut lines: Vec<String> = self.bindings.iter().map(registered).collect();
        if lines.is_empty() {
            lines.push(format!("{user} is not registered"));
        }
        let failed = |row: &&DecisionRow| {
            row.verdict == "refused" || matches!(row.reason.as_str(), "wrong-password")
        };
        if let Some(row) = self.decisions.iter().rev().find(failed) {
            let (reason, source, last) = (&row.reason, &row.source, &row.last);
            lines.push(format!("the last failure: {reason} at {last}, from {source}"));
        }
        lines
    }

    /// How far the answer reaches; what nobody remembers is not taken for what never was.
    fn end(&self, about: &str) -> std::io::Result<()> {
        if self.memory.stopped {
            return say(
                "no server runs with this config: recent decisions live in the running server; \
                 bans, suspensions and bindings are shown from the store",
            );
        }
        if self.decisions.is_empty() {
            say(&format!("nothing was seen of {about} lately"))?;
        }
        if self.memory.shed > 0 {
            let shed = self.memory.shed;
            say(&format!(
                "for want of room {shed} messages were dropped unread, whoever sent them"
            ))?;
        }
        let since = |since: &Option<String>| match since {
            Some(since) => format!("since {since}"),
            None => "since the start".to_owned(),
        };
        say(&format!(
            "remembered: known users and peers {}, strangers {}",
            since(&self.memory.known_since),
            since(&self.memory.strangers_since)
        ))
    }
}

fn standing(row: &StandingRow) -> Vec<String> {
    let kind = if row.row.kind == Kind::Ban { "banned" } else { "suspended" };
    let who = [row.row.user.as_deref(), row.row.address.as_deref()];
    let who = who.into_iter().flatten().collect::<Vec<_>>().join(" from ");
    let ban = &row.row;
    let mut lines = vec![format!(
        "{who} is {kind} since {} until {}: {} ({})",
        ban.since, ban.until, ban.rule, ban.reason
    )];
    if let Some(dropped) = row.dropped {
        lines.push(field("dropped", &format!("{dropped} messages")));
    }
    lines.extend([field("why", &row.says), field("undo", &row.undo), String::new()]);
    lines
}

fn decision(row: &DecisionRow) -> Vec<String> {
    let method = row.method.as_deref().unwrap_or("a message");
    let status = row.status.map(|status| format!(" {status}")).unwrap_or_default();
    let times = match row.times {
        1 => String::new(),
        times => format!(" (x {times} since {})", row.first),
    };
    let (last, verdict, reason) = (&row.last, &row.verdict, &row.reason);
    let mut lines = vec![
        format!("{last} {method} {verdict}{status} {reason}{times}"),
        field("source", &row.source),
    ];
    let parts = [("from", &row.from), ("to", &row.target), ("user", &row.user)];
    let parts = parts.into_iter().chain([("call-id", &row.call_id)]);
    lines.extend(parts.filter_map(|(name, text)| Some(field(name, text.as_deref()?))));
    let rules = row.rules.iter();
    lines.extend(rules.map(|rule| field("rule", &format!("{}: {}", rule.rule, rule.value))));
    lines.extend([field("why", &row.says), field("undo", &row.undo), String::new()]);
    lines
}

fn field(name: &str, value: &str) -> String {
    format!("  {name:<8} {value}")
}
