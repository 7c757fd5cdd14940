//! When our own certificates end, said thirty days ahead: in `check`, in `status` and in the log.

use rempart_actors::identity::{Fingerprint, Identity};
use serde::{Deserialize, Serialize};

use crate::timestamp::rfc3339;

/// How long ahead the end of a certificate is a weakness, in days.
const AHEAD: i64 = 30;

/// One certificate of ours, as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRow {
    /// Where it is configured: `tls` or `tls.profiles[2]`.
    pub key: String,
    /// Its common name, or null.
    pub subject: Option<String>,
    /// The host names it is made out to.
    pub names: Vec<String>,
    /// Who signed it.
    pub issuer: String,
    /// SHA-256, as `openssl x509 -fingerprint -sha256` prints it.
    pub fingerprint: String,
    /// When it expires.
    pub not_after: String,
    /// Whole days until then; negative once it has.
    pub days_left: i64,
}

impl CertificateRow {
    /// The certificate that `key` of the config shows, seen at `now` (Unix seconds).
    pub(super) fn of(key: &str, own: &Identity, now: u64) -> Self {
        let left = i64::try_from(own.not_after).unwrap_or(i64::MAX)
            - i64::try_from(now).unwrap_or(i64::MAX);
        Self {
            key: key.to_owned(),
            subject: own.subject_cn.clone(),
            names: own.san_dns.clone(),
            issuer: own.issuer.clone(),
            fingerprint: Fingerprint(&own.fingerprint).to_string(),
            not_after: rfc3339(own.not_after),
            days_left: left.div_euclid(86_400),
        }
    }

    /// What is wrong with it, if anything.
    pub fn warning(&self) -> Option<String> {
        let Self { not_after, days_left, .. } = self;
        match *days_left {
            left if left < 0 => Some(format!("has expired on {not_after}; renew it")),
            left if left < AHEAD => {
                Some(format!("expires in {left} days, on {not_after}; renew it"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warning(left: i64) -> Option<String> {
        let now = 1_000 * 86_400;
        let own = Identity { not_after: (now + left) as u64, ..Identity::default() };
        CertificateRow::of("tls", &own, now as u64).warning()
    }

    #[test]
    fn the_end_is_said_thirty_days_ahead() {
        assert_eq!(warning(30 * 86_400), None);
        let soon = warning(30 * 86_400 - 1).expect("a warning");
        assert!(soon.starts_with("expires in 29 days"), "{soon}");
        let gone = warning(-1).expect("a warning");
        assert!(gone.starts_with("has expired on 1972-"), "{gone}");
    }
}
