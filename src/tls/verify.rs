//! Whom we believe: certificates of clients that connect to us, and of servers we connect to.
//! Chains and revocation lists are webpki's work; pins, unreadable names and the name a server
//! must prove are ours.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::identity::{self, fingerprint};

/// What a certificate is measured by.
#[derive(Clone, Debug, Default)]
pub(super) struct Measure {
    /// Authorities a chain must lead to; `None`: a pin is enough, or nothing is asked.
    pub(super) authorities: Option<Arc<RootCertStore>>,
    /// Revocation lists of these authorities.
    pub(super) revocations: Vec<CertificateRevocationListDer<'static>>,
    /// Fingerprints of which the certificate must have one; empty: any will do.
    pub(super) pinned: Vec<[u8; 32]>,
}

impl Measure {
    /// Whether a certificate that passes proves anything.
    pub(super) fn proves(&self) -> bool {
        self.authorities.is_some() || !self.pinned.is_empty()
    }

    /// A pinned certificate counts while it is valid.
    fn check_pin(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        if self.pinned.is_empty() {
            return Ok(());
        }
        if !self.pinned.contains(&fingerprint(certificate)) {
            return Err(refused("its fingerprint is none of those pinned"));
        }
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else {
            return Err(CertificateError::BadEncoding.into());
        };
        let (now, validity) = (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), parsed.validity());
        match () {
            () if now > validity.not_after.timestamp() => Err(CertificateError::Expired.into()),
            () if now < validity.not_before.timestamp() => {
                Err(CertificateError::NotValidYet.into())
            }
            () => Ok(()),
        }
    }
}

/// Whoever read a name with a NUL in it as C does would take it for another.
fn check_names(certificate: &CertificateDer<'_>) -> Result<(), Error> {
    match identity::identity(certificate, true) {
        Ok(_) => Ok(()),
        Err(_) => Err(CertificateError::BadEncoding.into()),
    }
}

#[derive(Debug)]
struct Refused(&'static str);

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

fn refused(why: &'static str) -> Error {
    CertificateError::Other(OtherError(Arc::new(Refused(why)))).into()
}

/// Both traits of rustls ask for the same: signatures are checked by the provider's algorithms.
macro_rules! signatures_are_checked {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.algorithms.supported_schemes()
        }
    };
}

/// Judges the certificates of clients.
#[derive(Debug)]
pub(super) struct Clients {
    measure: Measure,
    chains: Option<Arc<dyn ClientCertVerifier>>,
    mandatory: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Clients {
    /// A judge by `measure`; `mandatory` refuses clients that show no certificate.
    pub(super) fn new(
        measure: Measure,
        mandatory: bool,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let build = |roots: &Arc<RootCertStore>| {
            // Every certificate of the chain must have a list, and no list may be out of date.
            WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
                .with_crls(measure.revocations.iter().cloned())
                .enforce_revocation_expiration()
                .build()
        };
        let chains = measure.authorities.as_ref().map(build).transpose();
        let chains = chains.map_err(|error| error.to_string())?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { measure, chains, mandatory, algorithms })
    }
}

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chains.as_ref().map_or(&[], |chains| chains.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(chains) = &self.chains {
            chains.verify_client_cert(end_entity, intermediates, now)?;
        }
        self.measure.check_pin(end_entity, now)?;
        check_names(end_entity)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures_are_checked!();
}

/// Judges the certificates of servers that we connect to.
#[derive(Debug)]
pub(super) struct Servers {
    measure: Measure,
    revocations: Vec<CertRevocationList<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Servers {
    /// A judge by `measure`.
    pub(super) fn new(measure: Measure, provider: &CryptoProvider) -> Result<Self, String> {
        let read = |list: &CertificateRevocationListDer<'static>| {
            OwnedCertRevocationList::from_der(list).map(CertRevocationList::from)
        };
        let revocations: Result<Vec<_>, _> = measure.revocations.iter().map(read).collect();
        let revocations = revocations.map_err(|error| error.to_string())?;
        let algorithms = provider.signature_verification_algorithms;
        Ok(Self { measure, revocations, algorithms })
    }

    fn check_chain(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        anchors: &[TrustAnchor<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let certificate = EndEntityCert::try_from(end_entity).map_err(chain_error)?;
        let lists: Vec<&CertRevocationList<'_>> = self.revocations.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let verified = certificate.verify_for_usage(
            self.algorithms.all,
            anchors,
            intermediates,
            now,
            KeyUsage::server_auth(),
            revocation,
            None,
        );
        verified.map(drop).map_err(chain_error)
    }
}

fn chain_error(error: webpki::Error) -> Error {
    let known = match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::CertRevoked => CertificateError::Revoked,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        webpki::Error::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus,
        webpki::Error::BadDer => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    known.into()
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.measure.check_pin(end_entity, now)?;
        if let Some(roots) = &self.measure.authorities {
            self.check_chain(end_entity, intermediates, &roots.roots, now)?;
            let proven = match server_name {
                ServerName::DnsName(name) => identity::proves_domain(end_entity, name.as_ref()),
                ServerName::IpAddress(ip) => identity::proves_address(end_entity, (*ip).into()),
                _ => false,
            };
            if !proven {
                return Err(CertificateError::NotValidForName.into());
            }
        }
        check_names(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_are_checked!();
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams,
        ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
        RevokedCertParams, SerialNumber, date_time_ymd,
    };
    use rustls::crypto::aws_lc_rs::default_provider;
    use std::time::Duration;

    /// The middle of 2026.
    const NOW: u64 = 1_782_000_000;

    struct House {
        issuer: Issuer<'static, KeyPair>,
        own: CertificateDer<'static>,
    }

    impl House {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let key = KeyPair::generate().expect("a key");
            let own = params.self_signed(&key).expect("a certificate").der().clone();
            Self { issuer: Issuer::new(params, key), own }
        }

        fn issue(&self, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
            let mut params =
                CertificateParams::new(vec!["a.example".to_owned()]).expect("a host name");
            change(&mut params);
            let key = KeyPair::generate().expect("a key");
            params.signed_by(&key, &self.issuer).expect("a certificate").der().clone()
        }

        /// A list that revokes number 77 until that year.
        fn list(&self, year: i32) -> CertificateRevocationListDer<'static> {
            let revoked = RevokedCertParams {
                serial_number: SerialNumber::from(77),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            };
            let list = CertificateRevocationListParams {
                this_update: date_time_ymd(2020, 1, 1),
                next_update: date_time_ymd(year, 1, 1),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: vec![revoked],
                key_identifier_method: KeyIdMethod::Sha256,
            };
            list.signed_by(&self.issuer).expect("a list").der().clone()
        }

        fn measure(&self, year: i32) -> Measure {
            let mut roots = RootCertStore::empty();
            roots.add(self.own.clone()).expect("an authority");
            let authorities = Some(Arc::new(roots));
            Measure { authorities, revocations: vec![self.list(year)], pinned: Vec::new() }
        }
    }

    fn judged(measure: Measure, shown: &CertificateDer<'_>, name: &str) -> Result<(), Error> {
        let judge = Servers::new(measure, &default_provider()).expect("lists that read");
        let name = ServerName::try_from(name).expect("a name");
        let now = UnixTime::since_unix_epoch(Duration::from_secs(NOW));
        judge.verify_server_cert(shown, &[], &name, &[], now).map(drop)
    }

    #[test]
    fn a_server_is_believed_by_chain_dates_lists_purpose_and_name_together() {
        let (house, stranger) = (House::new(), House::new());
        let accepted = |shown, name| judged(house.measure(2090), &shown, name).is_ok();
        assert!(accepted(house.issue(|_| {}), "a.example"));
        assert!(!accepted(house.issue(|_| {}), "b.example"), "another name");
        assert!(!accepted(house.issue(|_| {}), "192.0.2.1"), "an address");
        assert!(!accepted(stranger.issue(|_| {}), "a.example"), "another authority");
        let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 1, 1);
        assert!(!accepted(house.issue(expired), "a.example"));
        let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2027, 1, 1);
        assert!(!accepted(house.issue(early), "a.example"));
        let revoked = |params: &mut CertificateParams| {
            params.serial_number = Some(SerialNumber::from(77));
        };
        assert!(!accepted(house.issue(revoked), "a.example"));
        let client_only = |params: &mut CertificateParams| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        };
        assert!(!accepted(house.issue(client_only), "a.example"));
        let old_list = judged(house.measure(2026), &house.issue(|_| {}), "a.example");
        assert!(old_list.is_err(), "nobody knows what was revoked since");
    }

    #[test]
    fn a_pin_stands_alone_without_authorities_and_beside_them_where_there_are() {
        let house = House::new();
        let (shown, other) = (house.issue(|_| {}), house.issue(|_| {}));
        let pinned = vec![fingerprint(&shown)];
        let alone = Measure { pinned: pinned.clone(), ..Measure::default() };
        assert_eq!(judged(alone.clone(), &shown, "b.example"), Ok(()));
        assert!(judged(alone.clone(), &other, "a.example").is_err());
        let both = Measure { pinned, ..house.measure(2090) };
        assert_eq!(judged(both.clone(), &shown, "a.example"), Ok(()));
        assert!(judged(both.clone(), &shown, "b.example").is_err());
        assert!(judged(both, &other, "a.example").is_err());
        let expired = house.issue(|params| params.not_after = date_time_ymd(2026, 1, 1));
        let alone = Measure { pinned: vec![fingerprint(&expired)], ..Measure::default() };
        assert!(judged(alone, &expired, "a.example").is_err(), "a pin does not outlive its dates");
    }
}
