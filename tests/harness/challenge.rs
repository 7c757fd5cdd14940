//! The phone's side of digest (RFC 7616), written from the RFC and not from the server, so that
//! it judges the server's own arithmetic.

use md5::Md5;
use sha2::{Digest, Sha256};

use super::message::split_list;

/// One WWW-Authenticate or Proxy-Authenticate value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The realm to hash with.
    pub realm: String,
    /// The server's nonce.
    pub nonce: String,
    /// `MD5` or `SHA-256`; MD5 when the server names none.
    pub algorithm: String,
    /// Whether the server offers qop=auth.
    pub qop: bool,
    /// Whether only the nonce was too old.
    pub stale: bool,
}

impl Challenge {
    /// Reads a header value that begins with `Digest`.
    pub fn parse(value: &str) -> Option<Self> {
        let list = split_list(value.strip_prefix("Digest ")?);
        let get = |name: &str| {
            let pairs = list.iter().filter_map(|part| part.split_once('='));
            pairs.clone().find(|(key, _)| key.trim() == name).map(|(_, text)| unquote(text))
        };
        Some(Self {
            realm: get("realm")?,
            nonce: get("nonce")?,
            algorithm: get("algorithm").unwrap_or_else(|| "MD5".into()),
            qop: get("qop").is_some_and(|offered| offered.split(',').any(|q| q.trim() == "auth")),
            stale: get("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The Authorization value for this challenge.
    pub fn answer(&self, user: &str, password: &str, method: &str, uri: &str) -> String {
        self.answer_with(
            user,
            password,
            method,
            uri,
            &Nc { count: 1, cnonce: "0a4f113b", qop: true },
        )
    }

    /// The same with a chosen nonce count and client nonce, or without qop.
    pub fn answer_with(
        &self,
        user: &str,
        password: &str,
        method: &str,
        uri: &str,
        nc: &Nc<'_>,
    ) -> String {
        let ha1 = self.hash(&format!("{user}:{}:{password}", self.realm));
        let ha2 = self.hash(&format!("{method}:{uri}"));
        let head = format!(
            "Digest username=\"{user}\", realm=\"{}\", nonce=\"{}\", uri=\"{uri}\", algorithm={}",
            self.realm, self.nonce, self.algorithm
        );
        if !(self.qop && nc.qop) {
            let response = self.hash(&format!("{ha1}:{}:{ha2}", self.nonce));
            return format!("{head}, response=\"{response}\"");
        }
        let (count, cnonce) = (format!("{:08x}", nc.count), nc.cnonce);
        let response = self.hash(&format!("{ha1}:{}:{count}:{cnonce}:auth:{ha2}", self.nonce));
        format!("{head}, response=\"{response}\", qop=auth, nc={count}, cnonce=\"{cnonce}\"")
    }

    fn hash(&self, text: &str) -> String {
        match self.algorithm.as_str() {
            "SHA-256" => hex(&Sha256::digest(text.as_bytes())),
            _ => hex(&Md5::digest(text.as_bytes())),
        }
    }
}

/// The client's part of a qop=auth answer.
#[derive(Clone, Copy, Debug)]
pub struct Nc<'a> {
    /// Nonce count.
    pub count: u32,
    /// Client nonce.
    pub cnonce: &'a str,
    /// False for an old phone that knows no qop.
    pub qop: bool,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unquote(text: &str) -> String {
    text.trim().trim_matches('"').to_string()
}
