//! A certificate's fields as the rules read them, and the names it proves its holder to have
//! (RFC 5922 section 7).

use std::net::IpAddr;

use aws_lc_rs::digest;
use rempart_actors::identity::Identity;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// Why a certificate says nothing usable about its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    /// Not a certificate, or one that contradicts itself.
    Malformed,
    /// A name in it holds a NUL or another control character, by which readers are made to differ.
    ControlCharacter,
}

/// SHA-256 of a certificate.
pub(super) fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, certificate);
    digest.as_ref().try_into().unwrap_or_default()
}

/// What a certificate says about its holder.
pub(super) fn identity(
    certificate: &CertificateDer<'_>,
    verified: bool,
) -> Result<Identity, Unreadable> {
    let parsed = parse(certificate)?;
    let mut common_names = parsed.subject().iter_common_name();
    let subject_cn = common_names.next().map(|name| name.as_str());
    // Two common names: which of them counts is nobody's to guess.
    let subject_cn = match (subject_cn, common_names.next()) {
        (Some(name), None) => Some(clean(name.map_err(|_| Unreadable::Malformed)?)?),
        _ => None,
    };
    let names = Names::of(&parsed)?;
    Ok(Identity {
        subject_cn,
        san_uri: names.uris,
        san_dns: names.dns,
        issuer: parsed.issuer().to_string(),
        serial: hex(parsed.raw_serial()),
        fingerprint: fingerprint(certificate),
        verified,
        not_after: u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0),
    })
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Unreadable> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(Unreadable::Malformed),
    }
}

fn clean(name: &str) -> Result<String, Unreadable> {
    match name.chars().any(char::is_control) {
        true => Err(Unreadable::ControlCharacter),
        false => Ok(name.to_owned()),
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// The subject alternative names.
#[derive(Default)]
struct Names {
    uris: Vec<String>,
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
    /// Whether the certificate has the extension at all.
    present: bool,
}

impl Names {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, Unreadable> {
        let extension =
            certificate.subject_alternative_name().map_err(|_| Unreadable::Malformed)?;
        let Some(extension) = extension else { return Ok(Self::default()) };
        let mut names = Self { present: true, ..Self::default() };
        for name in &extension.value.general_names {
            match name {
                GeneralName::URI(uri) => names.uris.push(clean(uri)?),
                GeneralName::DNSName(name) => names.dns.push(clean(name)?),
                GeneralName::IPAddress(octets) => names.addresses.extend(address(octets)),
                _ => {}
            }
        }
        Ok(names)
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).ok()
}

/// Whether the certificate proves its holder to be that SIP domain (RFC 5922 section 7.1): by a
/// `sip:` URI without user, else by a DNS name, else, without any alternative name, by its common
/// name. Wildcards match nothing (section 7.2).
pub(super) fn proves_domain(certificate: &CertificateDer<'_>, domain: &str) -> bool {
    let Ok(parsed) = parse(certificate) else { return false };
    let Ok(names) = Names::of(&parsed) else { return false };
    let domain = domain.trim_end_matches('.');
    let same = |name: &str| name.trim_end_matches('.').eq_ignore_ascii_case(domain);
    if !names.present {
        return identity(certificate, false)
            .is_ok_and(|identity| identity.subject_cn.is_some_and(|name| same(&name)));
    }
    let domains: Vec<&str> = names.uris.iter().filter_map(|uri| sip_domain(uri)).collect();
    match domains.as_slice() {
        [] => names.dns.iter().any(|name| same(name)),
        domains => domains.iter().any(|name| same(name)),
    }
}

/// Whether the certificate proves its holder to be at that address.
pub(super) fn proves_address(certificate: &CertificateDer<'_>, ip: IpAddr) -> bool {
    let names = parse(certificate).and_then(|parsed| Names::of(&parsed));
    names.is_ok_and(|names| names.addresses.contains(&ip.to_canonical()))
}

/// The host of a `sip:` URI that names a domain and nobody in it.
fn sip_domain(uri: &str) -> Option<&str> {
    let (scheme, host) = uri.split_once(':')?;
    let host = host.split([';', '?']).next()?;
    (scheme.eq_ignore_ascii_case("sip") && !host.contains(['@', ':'])).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    fn certificate(common_name: &str, names: Vec<SanType>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        params.self_signed(&key).expect("a certificate").der().clone()
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().expect("a name"))
    }

    fn uri(uri: &str) -> SanType {
        SanType::URI(uri.try_into().expect("a URI"))
    }

    #[test]
    fn a_domain_is_proven_as_rfc_5922_says() {
        let proves = |names, domain| proves_domain(&certificate("cn.example", names), domain);
        assert!(proves(vec![dns("A.Example")], "a.example."));
        assert!(proves(vec![uri("sip:a.example"), dns("b.example")], "a.example"));
        assert!(!proves(vec![uri("sip:a.example"), dns("b.example")], "b.example"));
        assert!(!proves(vec![uri("sip:alice@a.example")], "a.example"), "a user, no domain");
        assert!(proves(vec![uri("https://b.example"), dns("a.example")], "a.example"));
        assert!(!proves(vec![dns("*.example")], "a.example"), "wildcards match nothing");
        assert!(proves(Vec::new(), "cn.example"));
        assert!(!proves(vec![dns("a.example")], "cn.example"));
    }

    #[test]
    fn an_address_is_proven_by_an_address_alone() {
        let ip = IpAddr::from([192, 0, 2, 1]);
        let of = |names| proves_address(&certificate("192.0.2.1", names), ip);
        assert!(of(vec![SanType::IpAddress(ip)]));
        assert!(!of(vec![SanType::IpAddress(IpAddr::from([192, 0, 2, 2]))]));
        assert!(!of(vec![dns("192.0.2.1")]) && !of(Vec::new()));
    }

    #[test]
    fn the_fields_are_read_and_names_with_control_characters_refused() {
        let shown = certificate("alice", vec![dns("a.example"), uri("sip:alice@a.example")]);
        let identity = identity(&shown, true).expect("readable");
        assert_eq!(identity.subject_cn.as_deref(), Some("alice"));
        assert_eq!(identity.san_dns, ["a.example"]);
        assert_eq!(identity.san_uri, ["sip:alice@a.example"]);
        assert_eq!(identity.issuer, "CN=alice");
        assert!(identity.verified && !identity.serial.is_empty());
        for name in ["alice\0.evil", "alice\r\n"] {
            let refused = super::identity(&certificate(name, Vec::new()), true);
            assert_eq!(refused, Err(Unreadable::ControlCharacter), "{name:?}");
        }
        let junk = CertificateDer::from(vec![0x30, 0x80, 0]);
        assert_eq!(super::identity(&junk, true), Err(Unreadable::Malformed));
    }
}
