//! `rempart check`: what the config means, before `run` acts on it.

use std::path::Path;

use clap::Args;

use super::listing::{Listing, say};
use super::{Desk, Failure};
use crate::admin::{AdminReply, AdminRequest, Origin};
use crate::config::Config;
use crate::config::check::{Finding, Weight, check_with};
use crate::config::trusted::TrustedEntry;
use crate::tls::{CertificateRow, Profiles};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Write JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Prints every finding; fails if `run` would refuse the config or its store.
    pub fn report(&self, config: Config, file: &Path) -> Result<(), Failure> {
        let certificates = Profiles::inspect(&config)?;
        let stored = stored(&config)?;
        let mut findings = check_with(&config, &stored);
        findings.extend(certificates.iter().map(finding));
        let mut listing = Listing::new(self.json, &["weight", "key", "says"], "nothing to say");
        for finding in &findings {
            listing.row(finding, &[finding.weight.name(), &finding.key, &finding.text]);
        }
        listing.end()?;
        if !self.json {
            let weak = findings.iter().filter(|finding| finding.weight == Weight::Weak).count();
            say(&format!("{}: good, {weak} weak choices", file.display()))?;
        }
        Ok(())
    }
}

/// What there is to say about a certificate that we show.
fn finding(row: &CertificateRow) -> Finding {
    let subject = row.subject.as_deref().unwrap_or("without a common name");
    let (weight, text) = match row.warning() {
        Some(warning) => (Weight::Weak, warning),
        None => (Weight::Note, format!("good until {}", row.not_after)),
    };
    let text = format!("{subject}, SHA-256 {}: {text}", row.fingerprint);
    Finding { weight, key: format!("{}.certificate", row.key), text }
}

/// The trusted addresses in the store, without making one.
fn stored(config: &Config) -> Result<Vec<TrustedEntry>, Failure> {
    let there = config.storage.folder().is_some_and(|folder| folder.join("sled").exists());
    if !there && !config.control.exists() {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    Desk::open(config.clone())?.ask(&AdminRequest::TrustList, &mut |row| match row {
        AdminReply::Trusted(row) if row.from == Origin::Store => entries.push(row.entry),
        _ => {}
    })?;
    Ok(entries)
}
