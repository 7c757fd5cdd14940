//! Addresses of record in the form that the store, the shards and the guards key on.

use std::fmt;
use std::sync::Arc;

use super::Host;
use crate::limits::AOR_MAX;

/// Canonical `user@domain`: the user's case kept and its escapes undone, the domain as `Host`
/// prints it. Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Aor(Arc<str>);

impl Aor {
    /// Joins an unescaped user and a domain in any spelling.
    ///
    /// `None`: either is empty or no such thing, the user holds control characters or is not
    /// UTF-8, or both together exceed 255 octets.
    pub fn new(user: &[u8], domain: &str) -> Option<Self> {
        Self::of(user, &Host::parse(domain.as_bytes()).ok()?)
    }

    /// Joins an unescaped user and a host; see `new`.
    pub fn of(user: &[u8], host: &Host) -> Option<Self> {
        let user = std::str::from_utf8(user).ok()?;
        if user.is_empty() || user.len() > AOR_MAX || user.contains(char::is_control) {
            return None;
        }
        let text = match host {
            Host::Name(name) => [user, "@", name].concat(),
            Host::Ip(_) => format!("{user}@{host}"),
        };
        (text.len() <= AOR_MAX).then(|| Self(text.into()))
    }

    /// Reads `user@domain`, as an operator or the store writes it; no escapes.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, domain) = text.rsplit_once('@')?;
        Self::new(user.as_bytes(), domain)
    }

    /// What stands before the last `@`. It may hold one itself: `sip:a%40b@example.org`.
    pub fn user(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(user, _)| user)
    }

    /// The domain, canonical.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The whole.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Aor {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_domain_is_canonical_and_the_user_is_as_it_was() {
        let aor = Aor::parse("Alice@Example.ORG.").expect("a good address");
        assert_eq!((aor.user(), aor.domain()), ("Alice", "example.org"));
        assert_eq!(aor.as_str(), "Alice@example.org");
        let mapped = Aor::new(b"101", "[::ffff:192.0.2.1]").expect("a good address");
        assert_eq!(mapped.to_string(), "101@192.0.2.1");
    }

    #[test]
    fn the_last_at_sign_parts_user_and_domain() {
        let aor = Aor::new(b"sips:user@example.net", "example.org").expect("a good address");
        assert_eq!((aor.user(), aor.domain()), ("sips:user@example.net", "example.org"));
        assert_eq!(Aor::parse(aor.as_str()), Some(aor));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "@", "alice", "@example.org", "alice@", "alice@exa mple", "alice@a@"] {
            assert_eq!(Aor::parse(text), None, "{text}");
        }
        assert_eq!(Aor::new(b"null-\0-null", "example.org"), None);
        assert_eq!(Aor::new(b"\xff", "example.org"), None);
        assert_eq!(Aor::new("\u{85}".as_bytes(), "example.org"), None);
    }

    #[test]
    fn addresses_are_at_most_255_octets() {
        let user = |length: usize| Aor::new("a".repeat(length).as_bytes(), "example.org");
        assert!(user(255 - "@example.org".len()).is_some());
        assert!(user(256 - "@example.org".len()).is_none());
    }

    proptest! {
        #[test]
        fn parsing_is_idempotent(user: Vec<u8>, domain in "[A-Za-z0-9.-]{1,12}") {
            if let Some(aor) = Aor::new(&user, &domain) {
                prop_assert_eq!(aor.user().as_bytes(), &user[..]);
                prop_assert_eq!(Aor::parse(aor.as_str()), Some(aor));
            }
        }
    }
}
