//! Every reason a decision can have, in plain words: which rule it is, what happened and what the
//! operator can do about it, and the command or key that undoes it.

use std::net::IpAddr;

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The identifier, as logs, metrics and listings carry it.
    pub id: &'static str,
    /// The rule that decided.
    pub rule: &'static str,
    /// What happened, and what the operator can do.
    pub says: &'static str,
    /// The command or config key that undoes it, with places for the address and the user; or
    /// why there is nothing to undo.
    undo: &'static str,
}

impl Reason {
    /// What undoes it for this source and user.
    pub fn undo(&self, ip: Option<IpAddr>, user: Option<&str>) -> String {
        let ip = ip.map_or("IP".to_owned(), |ip| ip.to_string());
        self.undo.replace("{ip}", &ip).replace("{user}", user.unwrap_or("USER@DOMAIN"))
    }
}

const fn row(
    id: &'static str,
    rule: &'static str,
    says: &'static str,
    undo: &'static str,
) -> Reason {
    Reason { id, rule, says, undo }
}

/// The reason of this identifier.
pub fn reason(id: &str) -> Option<&'static Reason> {
    ACCEPTED.iter().chain(REFUSED).find(|reason| reason.id == id)
}

/// Reasons that are no refusals of [`rempart_sip::refusal::Refusal`].
pub const ACCEPTED: &[Reason] = &[
    row(
        "pending",
        "relay",
        "It is still being worked on: a phone rings, a name is looked up, or nobody has answered.",
        "nothing to undo: ask again in a moment",
    ),
    row(
        "keep-alive",
        "keep-alive",
        "An OPTIONS to the server itself was answered; phones use it to see whether it is there.",
        "nothing to undo: it was answered",
    ),
    row(
        "wrong-password",
        "guard",
        "The password was wrong; it is asked for again until the limit of the guard is reached.",
        "rempart subscriber passwd {user} (if the phone has the wrong one)",
    ),
    row(
        "stale-nonce",
        "digest",
        "The challenge answered was too old, used up or another source's; a fresh one went out.",
        "nothing to undo: the phone answers the fresh challenge by itself",
    ),
    row(
        "registered",
        "registrar",
        "The password was right and the phone can be called at the addresses it gave.",
        "rempart location remove {user}",
    ),
    row(
        "unregistered",
        "registrar",
        "The password was right and the phone took its addresses back.",
        "nothing to undo: the phone registers again by itself",
    ),
    row(
        "relayed",
        "relay",
        "The request was sent on and the other side accepted it.",
        "nothing to undo: it was relayed",
    ),
    row(
        "callee-declined",
        "relay",
        "The request was sent on and the other side answered with this failure; nothing here \
         refused it, so look at the phone or the gateway that answered.",
        "nothing to undo: the other side decided",
    ),
    row(
        "in-dialog",
        "dialog",
        "The request belongs to a call that this server relayed, and went to its other side.",
        "nothing to undo: it was relayed",
    ),
    row(
        "banned-by-hand",
        "ban",
        "An operator banned the source with `rempart ban add`.",
        "rempart unban {ip}",
    ),
    row(
        "panic",
        "server",
        "A fault of the server cost this transaction; please report it with the server's log.",
        "nothing to undo: the client repeats the request",
    ),
    row(
        "unsendable",
        "transport",
        "A message could not be sent because the system has no way to its address.",
        "nothing to undo: see the routes and the firewall of this host",
    ),
];

const NOTHING_CLIENT: &str = "nothing to undo: the client must send something else";

/// One row for each variant of [`rempart_sip::refusal::Refusal`].
pub(super) const REFUSED: &[Reason] = &[
    row(
        "banned",
        "ban",
        "The source is banned, so nothing it sends is read or answered.",
        "rempart unban {ip}",
    ),
    row(
        "flooding",
        "flood",
        "The source sent more requests than `flood` allows in one window and was banned; an office \
         or a server that must send that much belongs into the address table.",
        "rempart unban {ip}; rempart trust add {ip}; key flood",
    ),
    row(
        "shed",
        "overload",
        "The server had more work in hand than it may and dropped the message unread; the sender \
         repeats it.",
        "nothing to undo: the sender repeats it",
    ),
    row(
        "answer-budget",
        "amplification",
        "Answers to unproven sources of this network are used up for the moment.",
        "rempart trust add {ip}",
    ),
    row(
        "unproven-rate",
        "trusted",
        "A trusted address sent more over UDP than an address that can be forged may.",
        "rempart trust add {ip} --transport tcp",
    ),
    row(
        "scanner",
        "scanners",
        "The User-Agent is the name of a known attack tool; it hears 200 or nothing, and nothing \
         else happens.",
        "key scanners.user_agents",
    ),
    row(
        "stray-response",
        "transaction",
        "A response belongs to no request that this server sent, and was dropped.",
        "nothing to undo: it came late, or from someone who was not asked",
    ),
    row(
        "stray-ack",
        "transaction",
        "An ACK belongs to no call of this server, and was dropped.",
        "nothing to undo: an ACK is never answered",
    ),
    row(
        "unanswerable",
        "parser",
        "The request lacks a field without which it cannot be answered.",
        NOTHING_CLIENT,
    ),
    row(
        "malformed",
        "parser",
        "The message does not follow RFC 3261; the reason phrase of the answer names the field.",
        NOTHING_CLIENT,
    ),
    row("uri-too-long", "parser", "The Request-URI is longer than is read here.", NOTHING_CLIENT),
    row(
        "unsupported-uri-scheme",
        "parser",
        "The Request-URI is none of sip, sips and tel.",
        NOTHING_CLIENT,
    ),
    row("version-not-supported", "parser", "The message is not SIP/2.0.", NOTHING_CLIENT),
    row("message-too-large", "parser", "The message is longer than allowed.", "key limits.message"),
    row(
        "too-many-hops",
        "relay",
        "Max-Forwards was used up: the request went through too many servers, or in circles.",
        "nothing to undo: look for two servers that send to each other",
    ),
    row(
        "loop-detected",
        "relay",
        "The same request came here again by a way that this server had sent it.",
        "nothing to undo: look for the server that sends it back",
    ),
    row(
        "merged-request",
        "relay",
        "The same request came by a second path; the first one is served.",
        "nothing to undo: the first one is served",
    ),
    row(
        "max-breadth",
        "relay",
        "The request was forked so often that none of its branches is left.",
        "nothing to undo: an earlier server forked too much",
    ),
    row(
        "bad-extension",
        "parser",
        "The request requires an extension that this server does not have; Unsupported names it.",
        NOTHING_CLIENT,
    ),
    row(
        "unauthorized",
        "digest",
        "A REGISTER came without a password proof and was asked for one, as every first REGISTER \
         is; a phone that never answers the challenge has no password set.",
        "nothing to undo: the phone answers the challenge by itself",
    ),
    row(
        "proxy-authentication",
        "digest",
        "A request of a local user came without a password proof and was asked for one, as every \
         first request is.",
        "nothing to undo: the phone answers the challenge by itself",
    ),
    row(
        "bad-credentials",
        "digest",
        "The Authorization field does not parse; it was refused and not counted as a failure.",
        NOTHING_CLIENT,
    ),
    row(
        "algorithm-not-offered",
        "digest",
        "The phone used a digest algorithm that it was not offered.",
        "key auth.algorithms",
    ),
    row(
        "digest-uri-mismatch",
        "digest",
        "The `uri` of the credentials is neither the request's nor this server's.",
        NOTHING_CLIENT,
    ),
    row(
        "identity-mismatch",
        "digest",
        "The user of the credentials is not the user that From, or To of a REGISTER, names; set \
         the phone's user name and its authentication name to the same.",
        "nothing to undo: change the phone's user name or authentication name",
    ),
    row(
        "suspended",
        "guard",
        "Too many wrong passwords: the user is suspended, and even the right password is not \
         looked at until the suspension ends.",
        "rempart unban {user}",
    ),
    row(
        "guess-budget",
        "guard",
        "The guesses at this user from unknown places are used up for the day.",
        "rempart unban {user}",
    ),
    row("spray", "guard", "The source tried passwords of many users.", "rempart unban {ip}"),
    row(
        "user-id-mismatch",
        "certificate",
        "The client's certificate is not for the user that From names.",
        "key tls.certificate_must_match",
    ),
    row(
        "tls-required",
        "tls",
        "It came by a plain transport, but this user, or a sips: address, is for TLS alone; set \
         the phone to TLS.",
        "key tls.require_tls",
    ),
    row(
        "not-relaying",
        "relay",
        "Neither the caller nor the callee is one of ours, or the address table does not let the \
         source reach foreign targets.",
        "rempart trust add {ip} --may foreign; key domains (if the domain is yours)",
    ),
    row(
        "pstn-not-allowed",
        "relay",
        "Only local users, and trusted sources with a local From, may call telephone numbers.",
        "rempart trust add {ip} --may pstn --pstn-any-from",
    ),
    row(
        "preloaded-route",
        "relay",
        "A foreign caller named the way beyond this server in a Route.",
        "rempart trust add {ip}",
    ),
    row(
        "egress-denied",
        "egress",
        "The target's address is one that requests are not sent to.",
        "key egress.allow",
    ),
    row(
        "callee-challenged",
        "relay",
        "The other side asked for a password; this server asks its own callers only for its own, \
         unless the other side is a configured peer.",
        "nothing to undo: give the other side's address a trust entry or make it a gateway",
    ),
    row(
        "address-incomplete",
        "target",
        "The Request-URI names no user, so there is nobody to call.",
        NOTHING_CLIENT,
    ),
    row(
        "not-found",
        "target",
        "There is no such user or, to a foreign caller, he is not registered.",
        "rempart subscriber list; rempart subscriber add USER@DOMAIN",
    ),
    row("not-here", "target", "PUBLISH: this server keeps no presence.", NOTHING_CLIENT),
    row(
        "unresolved",
        "dns",
        "The target's name has no address.",
        "key dns.servers (if the name resolves elsewhere)",
    ),
    row(
        "unavailable",
        "location",
        "The user exists and no phone of his is registered, or none of them can be reached.",
        "nothing to undo: the phone must register; see rempart location show",
    ),
    row(
        "method-not-allowed",
        "location",
        "The registered phone says in its Allow that it does not take this method.",
        "nothing to undo: the phone decides",
    ),
    row(
        "no-such-transaction",
        "dialog",
        "A request inside a call that this server does not know: it ended, or began elsewhere.",
        "nothing to undo: the call is gone",
    ),
    row(
        "stray-cancel",
        "transaction",
        "A CANCEL of nothing, or from another source than the INVITE; it was dropped.",
        "nothing to undo: there was no such call",
    ),
    row(
        "no-secure-way",
        "tls",
        "The call is for TLS alone, a sips: address or a user in tls.require_tls, and no phone or \
         gateway there is reached over TLS.",
        "key tls.require_tls (or call sip: instead of sips:)",
    ),
    row(
        "request-terminated",
        "relay",
        "The caller hung up before anyone answered.",
        "nothing to undo: the caller cancelled",
    ),
    row(
        "request-timeout",
        "relay",
        "Nobody answered in time.",
        "key timers.answer, timers.final_response",
    ),
    row(
        "interval-too-brief",
        "registrar",
        "The phone wants to register for less than the minimum; it was told the minimum.",
        "key registrar.expires.min",
    ),
    row(
        "too-many-contacts",
        "registrar",
        "The user has as many phones registered as allowed.",
        "rempart location remove {user}; key registrar.contacts_max",
    ),
    row(
        "next-hop-failed",
        "relay",
        "The other side cannot be reached: no connection, no route, or its name has no address.",
        "nothing to undo: see whether the gateway or the phone is up",
    ),
    row(
        "gateways-failed",
        "relay",
        "Every gateway that serves the number failed; the rules say how each of them did.",
        "nothing to undo: see the gateways in rempart status",
    ),
    row(
        "storage-failed",
        "storage",
        "The store could not write; nobody was blamed for it.",
        "nothing to undo: see the disk and the server's log",
    ),
    row(
        "overloaded",
        "overload",
        "There was no room for another transaction.",
        "key limits.transactions",
    ),
    row("internal", "server", "A fault of the server's own.", "nothing to undo: see its log"),
];
