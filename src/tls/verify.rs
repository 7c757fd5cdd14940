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
        // Whoever read a name with a NUL in it as C does would take it for another.
        match identity::identity(end_entity, true) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(_) => Err(CertificateError::BadEncoding.into()),
        }
    }

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
        match identity::identity(end_entity, true) {
            Ok(_) => Ok(ServerCertVerified::assertion()),
            Err(_) => Err(CertificateError::BadEncoding.into()),
        }
    }

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
}
