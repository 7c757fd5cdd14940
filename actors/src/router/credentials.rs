//! Reading the credentials of a request, up to the point where only the password is open.

use rempart_sip::digest::{Algorithm, BadCredentials, Claimed, Credentials, Qop};
use rempart_sip::message::{HeaderName, Message, Method};
use rempart_sip::refusal::Refusal;
use rempart_sip::uri::{Aor, Uri};

use super::classify::{from_uri, parse};
use crate::nonce_uses::ONCE;
use crate::settings::Settings;

/// Credentials for our realm, as they stand in the request.
pub(super) struct Shown<'a> {
    /// The header value.
    pub value: &'a [u8],
    /// The same, read.
    pub credentials: Credentials<'a>,
    /// The algorithm they are made with.
    pub algorithm: Algorithm,
}

impl Shown<'_> {
    /// The nonce count; without qop a nonce is good once.
    pub fn nc(&self) -> u32 {
        self.credentials.nc.unwrap_or(ONCE)
    }

    /// The user they are for, in our spelling. Phones may write the domain too.
    pub fn user(&self, realm: &str) -> Option<Aor> {
        let name = &*self.credentials.username;
        let domain = [b"@", realm.as_bytes()].concat();
        Aor::new(name.strip_suffix(domain.as_slice()).unwrap_or(name), realm)
    }
}

/// Finds the credentials for `realm`; none is no fault.
///
/// # Errors
///
/// R60: a Digest header that does not parse.
pub(super) fn find<'a>(message: Message<'a>, realm: &str) -> Result<Option<Shown<'a>>, Refusal> {
    let own = match message.method() {
        Method::Register => [HeaderName::Authorization, HeaderName::ProxyAuthorization],
        _ => [HeaderName::ProxyAuthorization, HeaderName::Authorization],
    };
    for value in own.into_iter().flat_map(|name| message.lines(name)) {
        match Credentials::parse(value) {
            Ok(credentials) if *credentials.realm == *realm.as_bytes() => {
                return shown(value, credentials).map(Some);
            }
            Ok(_) | Err(BadCredentials::OtherScheme) => {}
            Err(BadCredentials::Malformed(_)) => return Err(Refusal::BadCredentials),
        }
    }
    Ok(None)
}

fn shown<'a>(value: &'a [u8], credentials: Credentials<'a>) -> Result<Shown<'a>, Refusal> {
    let algorithm = match credentials.algorithm {
        None => Algorithm::Md5,
        Some(Claimed::Known(algorithm)) => algorithm,
        Some(Claimed::Unknown(_)) => return Err(Refusal::AlgorithmNotOffered),
    };
    if matches!(credentials.qop, Some(Qop::Other)) {
        return Err(Refusal::BadCredentials);
    }
    Ok(Shown { value, credentials, algorithm })
}

/// Whether the credentials belong to this request: the user is the one it names, the algorithm
/// was offered, the digest `uri` is the request's or ours.
///
/// # Errors
///
/// `403 Forbidden`, never counted.
pub(super) fn check(
    message: Message<'_>,
    shown: &Shown<'_>,
    aor: &Aor,
    settings: &Settings,
) -> Result<(), Refusal> {
    let user = shown.user(aor.domain());
    if user.as_ref() != Some(aor) || !names_himself(message, aor, settings) {
        return Err(Refusal::Forbidden);
    }
    if !settings.auth.algorithms(aor.domain()).contains(&shown.algorithm) {
        return Err(Refusal::AlgorithmNotOffered);
    }
    let fits = uri_fits(message, &shown.credentials.uri, settings);
    fits.then_some(()).ok_or(Refusal::DigestUriMismatch)
}

/// REGISTER: From equals To. PUBLISH: the Request-URI is the user's own.
pub(super) fn names_himself(message: Message<'_>, aor: &Aor, settings: &Settings) -> bool {
    let own = |uri: Result<Uri<'_>, Refusal>| {
        uri.is_ok_and(|uri| settings.names.aor(&uri).as_ref() == Some(aor))
    };
    match message.method() {
        Method::Register => own(from_uri(message)),
        Method::Publish => own(parse(message.request_uri())),
        _ => true,
    }
}

/// RFC 7616 section 3.4.6; SIPp writes a URI without user that names the server.
fn uri_fits(message: Message<'_>, claimed: &[u8], settings: &Settings) -> bool {
    if claimed == message.request_uri() {
        return true;
    }
    let Ok(claimed) = Uri::parse(claimed) else { return false };
    let names_us = claimed.user.is_none() && settings.names.domain_of_uri(&claimed).is_some();
    names_us || Uri::parse(message.request_uri()).is_ok_and(|uri| uri.equals(&claimed))
}
