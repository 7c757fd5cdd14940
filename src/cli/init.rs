//! `rempart init`: the first config of a domain.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::Failure;
use super::listing::say;
use crate::config::Config;
use crate::config::listen::canonical_host;

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct Init {
    /// The domain of your users: the part after the @
    #[arg(value_parser = domain)]
    domain: String,
}

fn domain(text: &str) -> Result<String, String> {
    canonical_host(text).ok_or_else(|| "no host name; write sip.example.org".to_owned())
}

impl Init {
    /// Writes the file, unless there is one.
    pub fn write(&self, file: &Path) -> Result<(), Failure> {
        let failed = |error: std::io::Error| {
            let remedy = match error.kind() {
                ErrorKind::AlreadyExists => "; it is left as it is, name another with --config",
                ErrorKind::NotFound => "; make its folder first",
                _ => "",
            };
            Failure::Message(format!("{}: cannot write it: {error}{remedy}", file.display()))
        };
        let text = text(&self.domain);
        let mut out = OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
        out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(failed)?;
        let (file, domain) = (file.display(), &self.domain);
        say(&format!("wrote {file}"))?;
        say("next: rempart check")?;
        say(&format!("      rempart subscriber add 101@{domain}"))?;
        Ok(say("      rempart run")?)
    }
}

/// The domain, and the keys that a first owner looks for; all else has its default.
fn text(domain: &str) -> String {
    let defaults = serde_json::to_value(Config::default()).unwrap_or_default();
    let line = |key: &str, value: &Value| format!("  \"{key}\": {value}");
    let lines = [
        line("domains", &json!([domain])),
        line("listen", &defaults["listen"]),
        line("trusted", &defaults["trusted"]),
        line("routing", &json!({ "pstn": { "gateways": [] } })),
    ];
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_config_is_the_default_for_the_domain() {
        let config = Config::parse(&text("sip.example.org"), Path::new("c.json"));
        let expected = Config { domains: vec!["sip.example.org".to_owned()], ..Config::default() };
        assert_eq!(config, Ok(expected));
    }
}
