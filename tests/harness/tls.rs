//! TLS as a phone speaks it, by rustls with a provider of its own choosing.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConfig, ServerConnection,
    SignatureScheme, StreamOwned,
};

use super::PATIENCE;
use super::authority::Pair;
use super::link::connect_from;

/// A connection that speaks TLS.
pub type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A connection that speaks TLS and that the server opened to us.
pub type Accepted = StreamOwned<ServerConnection, TcpStream>;

/// Waits for the server's connection and carries out the handshake, showing `pair`.
pub fn accept(listener: &TcpListener, pair: &Pair) -> std::io::Result<Accepted> {
    listener.set_nonblocking(true).expect("a listener need not wait");
    let (mut socket, _) = super::eventually("the server connects", || listener.accept().ok());
    socket.set_nonblocking(false).expect("a socket may wait");
    socket.set_read_timeout(Some(PATIENCE)).expect("a read timeout is settable");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3 are known");
    let resolver = Arc::new(SingleCertAndKey::from(certified(pair)));
    let config = config.with_no_client_auth().with_cert_resolver(resolver);
    let mut connection = ServerConnection::new(Arc::new(config)).map_err(std::io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

fn certified(pair: &Pair) -> CertifiedKey {
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
    let key = default_provider().key_provider.load_private_key(key).expect("a usable key");
    CertifiedKey::new(chain, key)
}

/// A client that looks at no certificate, as most phones are set up.
pub fn trusting() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3 are known");
    let dangerous = builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone));
    Arc::new(dangerous.with_no_client_auth())
}

/// A client that looks at no certificate and shows one of its own.
pub fn showing(pair: &Pair) -> Arc<ClientConfig> {
    let mut config = (*trusting()).clone();
    let shown = SingleCertAndKey::from(certified(pair));
    config.client_auth_cert_resolver = Arc::new(shown);
    Arc::new(config)
}

/// The fingerprint of the certificate that a server showed.
pub fn shown_by(stream: &TlsStream) -> Vec<u8> {
    let shown = stream.conn.peer_certificates().and_then(|chain| chain.first());
    shown.expect("a server shows a certificate").to_vec()
}

/// Connects from `ip` and carries out the handshake.
pub fn connect(
    ip: IpAddr,
    server: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream> {
    handshake(connect_from(ip, server), super::DOMAIN, config)
}

/// Carries out the handshake on a connection, asking for `name`.
pub fn handshake(
    mut socket: TcpStream,
    name: &str,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream> {
    let name = ServerName::try_from(name.to_owned()).expect("a host name");
    let mut connection = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
    socket.set_read_timeout(Some(PATIENCE)).expect("a read timeout is settable");
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(StreamOwned::new(connection, socket))
}

/// Takes every certificate.
#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
