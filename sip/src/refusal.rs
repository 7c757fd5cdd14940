//! Why we say no. One variant per reason, so that logs, metrics and `rempart explain` can tell
//! them apart even where the wire must not; `Refusal::status()` is the only road to a status code.

/// What a message that does not parse gets: the status, and a reason that names the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// 400, or 505, 416, 414 where the RFC has a code of its own.
    pub status: u16,
    /// The reason phrase, which names the field: `Bad Content-Length`.
    pub reason: &'static str,
}

/// Silence, as the status of a refusal.
const SILENT: u16 = 0;

/// Writes the enum and its table from one list, so that no variant can lack its row.
macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident
        $(($tuple:ty = $tuple_sample:expr))? $({ $(#[$field_doc:meta])* $field:ident: $type:ty })?
        => $status:expr, $reason:expr, $id:literal;)*) => {
        /// A reason for not going on with a message.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $name $(($tuple))? $({ $(#[$field_doc])* $field: $type })?,)*
        }

        impl Refusal {
            /// Every reason once, with empty details: for metrics that start at zero, and tests.
            pub const ALL: &[Self] = &[
                $(Self::$name $(($tuple_sample))? $({ $field: 0 })?,)*
            ];

            /// Status (0 for silence), reason phrase and identifier.
            fn row(&self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Self::$name { .. } => ($status, $reason, $id),)*
                }
            }
        }
    };
}

refusals! {
    /// The source is banned (R31, guard.md section 3): nothing is read, nothing answered.
    Banned => SILENT, "", "banned";
    /// The request that crossed the flood limit, and those after it (R32).
    Flooding => SILENT, "", "flooding";
    /// The server is full and the datagram is dropped unread; the sender will repeat it.
    Shed => SILENT, "", "shed";
    /// Answers to unproven sources in this network are used up (guard.md section 8).
    AnswerBudget => SILENT, "", "answer-budget";
    /// A trusted address sends more unproven traffic than its cap (guard.md section 7).
    UnprovenRate => SILENT, "", "unproven-rate";
    /// The User-Agent is a known attack tool (R33, R34); the caller decides on silence or 200.
    Scanner => SILENT, "", "scanner";
    /// A response that matches no transaction of ours (R4, guard.md section 6).
    StrayResponse => SILENT, "", "stray-response";
    /// An ACK that matches no transaction and carries no seal (RFC 3261 section 17.1.1.3).
    StrayAck => SILENT, "", "stray-ack";
    /// A request that cannot be answered, for want of Via, From, To, Call-ID or CSeq.
    Unanswerable => SILENT, "", "unanswerable";

    /// A field is missing or does not parse (RFC 3261 section 21.4.1).
    Malformed(Malformed = Malformed { status: 400, reason: "Bad Request" })
        => 400, "Bad Request", "malformed";
    /// The request URI is longer than we look at (RFC 3261 section 21.4.12).
    UriTooLong => 414, "Request-URI Too Long", "uri-too-long";
    /// The request URI has a scheme that is not sip, sips or tel (RFC 3261 section 8.2.2.1).
    UnsupportedUriScheme => 416, "Unsupported URI Scheme", "unsupported-uri-scheme";
    /// The version is not SIP/2.0 (RFC 3261 section 21.5.6).
    VersionNotSupported => 505, "Version Not Supported", "version-not-supported";
    /// The message is over `limits.message` (RFC 3261 section 21.5.7).
    MessageTooLarge => 513, "Message Too Large", "message-too-large";
    /// Max-Forwards is used up (RFC 3261 section 16.3).
    TooManyHops => 483, "Too Many Hops", "too-many-hops";
    /// The request has been here with the same request URI (RFC 3261 section 16.3).
    LoopDetected => 482, "Loop Detected", "loop-detected";
    /// The same request came by another path (RFC 3261 section 8.2.2.2).
    MergedRequest => 482, "Loop Detected", "merged-request";
    /// No breadth left for another branch (RFC 5393 section 5.3.3).
    MaxBreadth => 440, "Max-Breadth Exceeded", "max-breadth";
    /// Require or Proxy-Require names what we do not know; the list goes into Unsupported
    /// (RFC 3261 section 8.2.2.3).
    BadExtension(Vec<u8> = Vec::new()) => 420, "Bad Extension", "bad-extension";

    /// REGISTER without usable credentials (R13); the challenge goes with it.
    Unauthorized => 401, "Unauthorized", "unauthorized";
    /// Another request of a local user without usable credentials (R13).
    ProxyAuthenticationRequired => 407, "Proxy Authentication Required", "proxy-authentication";
    /// The Authorization field does not parse (R60); never counted.
    BadCredentials => 403, "Forbidden", "bad-credentials";
    /// The digest algorithm was not offered (contract.md section 3).
    AlgorithmNotOffered => 403, "Forbidden", "algorithm-not-offered";
    /// The digest `uri` is neither the request URI nor this server (RFC 7616 section 3.4.6).
    DigestUriMismatch => 403, "Forbidden", "digest-uri-mismatch";
    /// The authenticated user is not the one that From, or To, names; never counted.
    Forbidden => 403, "Forbidden", "identity-mismatch";
    /// The pair or the user is suspended (R56): no challenge, no password test.
    TryLater => 403, "Try later", "suspended";
    /// The user's guesses from unknown places are used up (guard.md section 4, step 4).
    GuessBudget => 403, "Try later", "guess-budget";
    /// The source has failed on many users (guard.md section 4, step 5).
    Spray => 403, "Try later", "spray";
    /// The certificate's subject is not the From user (R50).
    UserIdMismatch => 403, "User id mismatch", "user-id-mismatch";
    /// A plain transport where the user, or `sips:`, asks for TLS (R43, RFC 5630).
    TlsRequired => 403, "TLS required", "tls-required";

    /// A foreign caller to a foreign target (R17).
    NotRelaying => 403, "Not relaying", "not-relaying";
    /// A foreign caller to the PSTN (R18).
    NotAllowed => 403, "Not Allowed", "pstn-not-allowed";
    /// A foreign caller's Route beyond ourselves (guard.md section 6).
    PreloadedRoute => 403, "Not relaying", "preloaded-route";
    /// The target's address is one we do not send to (contract.md section 2, `egress`).
    EgressDenied => 403, "Forbidden", "egress-denied";
    /// The callee asked for credentials (401, 407) and is no configured peer (guard.md section 6).
    CallRefused => 403, "Forbidden", "callee-challenged";

    /// The request URI has no user (RFC 3261 section 21.4.22).
    AddressIncomplete => 484, "Address Incomplete", "address-incomplete";
    /// There is no such user, or a foreign caller may not know that he is away (I7).
    NotFound => 404, "Not Found", "not-found";
    /// PUBLISH, and nobody here keeps presence.
    NotHere => 404, "Not here", "not-here";
    /// The target's name has no address (RFC 3263 section 4).
    Unresolved => 404, "Not Found", "unresolved";
    /// A local user without a binding, to local callers (RFC 3261 section 16.5).
    Unavailable => 480, "Temporarily Unavailable", "unavailable";
    /// Nobody whom TLS reaches, where nothing else will do (RFC 5630 section 5.3).
    NoSecureWay => 480, "Temporarily Unavailable", "no-secure-way";
    /// The binding's Allow does not list the method (RFC 3261 section 21.4.6).
    MethodNotAllowed => 405, "Method Not Allowed", "method-not-allowed";
    /// A request within a dialog that we do not know (RFC 3261 section 12.2.2).
    NoSuchTransaction => 481, "Call/Transaction Does Not Exist", "no-such-transaction";
    /// A CANCEL of nothing, or not from the INVITE's source (RFC 3261 section 9.2).
    StrayCancel => 481, "Call/Transaction Does Not Exist", "stray-cancel";
    /// The caller cancelled (RFC 3261 section 9.2).
    RequestTerminated => 487, "Request Terminated", "request-terminated";
    /// Nobody answered in time (RFC 3261 section 16.8).
    RequestTimeout => 408, "Request Timeout", "request-timeout";

    /// A binding would live shorter than the minimum (RFC 3261 section 10.3, step 7).
    IntervalTooBrief {
        /// What Min-Expires says, in seconds.
        min: u32
    } => 423, "Interval Too Brief", "interval-too-brief";
    /// The REGISTER would leave more than `registrar.contacts_max` bindings.
    TooManyContacts => 403, "Too Many Contacts", "too-many-contacts";

    /// The next hop cannot be reached (RFC 3261 section 16.9).
    NextHopFailed => 502, "Bad Gateway", "next-hop-failed";
    /// Every gateway that serves the number failed: no answer, 503, unreachable. Not 503, which
    /// would tell the caller to keep away from us (RFC 3261 section 16.7, step 6).
    GatewaysFailed => 502, "No Gateway Available", "gateways-failed";
    /// The store fails; never counted against anyone.
    StorageFailed => 503, "Service Unavailable", "storage-failed";
    /// No room for another transaction (RFC 3261 section 21.5.4).
    Overloaded => 503, "Service Unavailable", "overloaded";
    /// A fault of our own (RFC 3261 section 21.5.1).
    Internal => 500, "Server Internal Error", "internal";
}

/// Seconds after which a client may come back when the store fails or the server is full: long
/// enough to matter, short enough that a repaired server is found at once.
const RETRY_AFTER_SECS: u32 = 10;

impl Refusal {
    /// A 400 whose reason names the field.
    pub const fn bad_request(reason: &'static str) -> Self {
        Self::Malformed(Malformed { status: 400, reason })
    }

    /// The status code on the wire; `None` is silence.
    pub fn status(&self) -> Option<u16> {
        let status = match self {
            Self::Malformed(malformed) => malformed.status,
            _ => self.row().0,
        };
        (status != SILENT).then_some(status)
    }

    /// The reason phrase on the wire; empty for silence.
    pub fn reason(&self) -> &str {
        match self {
            Self::Malformed(malformed) => malformed.reason,
            _ => self.row().1,
        }
    }

    /// The identifier for logs, metrics and `rempart explain`: kebab-case, unique, never renamed.
    pub fn id(&self) -> &'static str {
        self.row().2
    }

    /// What Retry-After says, in seconds, where the client should come back by itself.
    pub fn retry_after(&self) -> Option<u32> {
        matches!(self, Self::StorageFailed | Self::Overloaded).then_some(RETRY_AFTER_SECS)
    }
}

impl From<Malformed> for Refusal {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_an_identifier_of_its_own() {
        let ids: HashSet<&str> = Refusal::ALL.iter().map(Refusal::id).collect();
        assert_eq!(ids.len(), Refusal::ALL.len());
    }

    #[test]
    fn identifiers_are_kebab_case() {
        for id in Refusal::ALL.iter().map(Refusal::id) {
            let clean = id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            assert!(clean && !id.starts_with('-') && !id.ends_with('-'), "{id}");
        }
    }

    #[test]
    fn every_reason_is_silence_or_a_final_failure_with_a_phrase() {
        for refusal in Refusal::ALL {
            match refusal.status() {
                None => assert_eq!(refusal.reason(), "", "{}", refusal.id()),
                Some(status) => {
                    assert!((400..700).contains(&status), "{}", refusal.id());
                    assert!(!refusal.reason().is_empty(), "{}", refusal.id());
                }
            }
        }
    }

    #[test]
    fn the_texts_of_the_contract_stand() {
        let text = |refusal: &Refusal| format!("{:?} {}", refusal.status(), refusal.reason());
        let cases = [
            (Refusal::TryLater, "Some(403) Try later"),
            (Refusal::Forbidden, "Some(403) Forbidden"),
            (Refusal::NotRelaying, "Some(403) Not relaying"),
            (Refusal::NotAllowed, "Some(403) Not Allowed"),
            (Refusal::UserIdMismatch, "Some(403) User id mismatch"),
            (Refusal::AddressIncomplete, "Some(484) Address Incomplete"),
            (Refusal::NotFound, "Some(404) Not Found"),
            (Refusal::Unavailable, "Some(480) Temporarily Unavailable"),
            (Refusal::TooManyHops, "Some(483) Too Many Hops"),
            (Refusal::NotHere, "Some(404) Not here"),
            (Refusal::MethodNotAllowed, "Some(405) Method Not Allowed"),
            (Refusal::IntervalTooBrief { min: 60 }, "Some(423) Interval Too Brief"),
            (Refusal::BadExtension(b"100rel".to_vec()), "Some(420) Bad Extension"),
            (Refusal::StorageFailed, "Some(503) Service Unavailable"),
            (Refusal::Banned, "None "),
        ];
        for (refusal, expected) in cases {
            assert_eq!(text(&refusal), expected);
        }
    }

    #[test]
    fn malformed_keeps_its_own_status_and_reason() {
        let refusal = Refusal::from(Malformed { status: 505, reason: "Version Not Supported" });
        assert_eq!((refusal.status(), refusal.reason()), (Some(505), "Version Not Supported"));
        assert_eq!(Refusal::bad_request("Bad CSeq").reason(), "Bad CSeq");
        assert_eq!(Refusal::bad_request("Bad CSeq").id(), "malformed");
    }

    #[test]
    fn only_a_failing_or_full_server_asks_to_come_back() {
        let ids: Vec<&str> = Refusal::ALL
            .iter()
            .filter(|refusal| refusal.retry_after().is_some())
            .map(Refusal::id)
            .collect();
        assert_eq!(ids, ["storage-failed", "overloaded"]);
    }
}
