//! Certificates, keys, authorities and revocation lists out of PEM files, with errors that say
//! which file, what is wrong with it, and the command that helps.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::error::TlsError;

/// A file longer than this is no certificate, key or list.
const FILE_MAX: u64 = 16 * 1024 * 1024;

/// Reads a certificate chain, the holder's first, and the key that belongs to it.
pub(super) fn certified(
    key: &str,
    chain: &Path,
    private: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let certificate_key = format!("{key}.certificate");
    let certificates = certificates(&certificate_key, chain)?;
    let private_key = private_key(&format!("{key}.key"), private)?;
    let signing = provider.key_provider.load_private_key(private_key).map_err(|error| {
        let what = format!("cannot use this key ({error}); use RSA of 2048 bits or more, or ECDSA");
        TlsError::of_file(&format!("{key}.key"), private, what)
    })?;
    let certified = CertifiedKey::new(certificates, signing);
    certified.keys_match().map_err(|error| {
        let what = match error {
            rustls::Error::InconsistentKeys(_) => format!(
                "its first certificate is not that of the key in {}; name the pair that belongs \
                 together, and put the server's own certificate before those of its authorities",
                private.display()
            ),
            other => format!("its first certificate does not read: {other}"),
        };
        TlsError::of_file(&certificate_key, chain, what)
    })?;
    Ok(certified)
}

fn read(key: &str, file: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |what: String| TlsError::of_file(key, file, what);
    let size = std::fs::metadata(file).map(|metadata| metadata.len());
    if size.is_ok_and(|size| size > FILE_MAX) {
        return Err(failed("is too large for a PEM file; name the right one".to_owned()));
    }
    std::fs::read(file).map_err(|error| {
        let remedy = match error.kind() {
            std::io::ErrorKind::NotFound => "name a file that is there",
            std::io::ErrorKind::PermissionDenied => {
                "let the user that runs the server read it (chown, chmod 0600)"
            }
            _ => "name a readable file",
        };
        failed(format!("cannot read it: {error}; {remedy}"))
    })
}

/// All objects of one kind in a PEM file, at least one.
fn objects<T: PemObject>(key: &str, file: &Path, kind: &str) -> Result<Vec<T>, TlsError> {
    let bytes = read(key, file)?;
    let found: Result<Vec<T>, _> = T::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| {
        let what = format!("is no valid PEM ({error}); `openssl` writes PEM with -outform PEM");
        TlsError::of_file(key, file, what)
    })?;
    if found.is_empty() {
        let what = format!("holds no {kind}; it needs a PEM file with at least one");
        return Err(TlsError::of_file(key, file, what));
    }
    Ok(found)
}

/// A chain of certificates.
pub(super) fn certificates(
    key: &str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    objects(key, file, "certificate (-----BEGIN CERTIFICATE-----)")
}

fn private_key(key: &str, file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(key, file)?;
    let text = String::from_utf8_lossy(&bytes);
    if text.contains("ENCRYPTED") {
        let what = format!(
            "the key is encrypted, and nobody is there to type its password; write it in the \
             clear for the server's user alone: `umask 077; openssl pkey -in {} -out plain.key`",
            file.display()
        );
        return Err(TlsError::of_file(key, file, what));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let what = "holds no private key (PKCS#8, PKCS#1 or SEC1 in PEM); `openssl pkey -in FILE` \
                    writes one";
        TlsError::of_file(key, file, what)
    })
}

/// Certificate authorities out of some files.
pub(super) fn authorities(key: &str, files: &[PathBuf]) -> Result<RootCertStore, TlsError> {
    let key = format!("{key}.ca");
    let mut roots = RootCertStore::empty();
    for file in files {
        for certificate in certificates(&key, file)? {
            roots.add(certificate).map_err(|error| {
                TlsError::of_file(&key, file, format!("a certificate in it is unusable: {error}"))
            })?;
        }
    }
    Ok(roots)
}

/// Revocation lists out of some files.
pub(super) fn revocations(
    key: &str,
    files: &[PathBuf],
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let key = format!("{key}.crl");
    let mut lists = Vec::new();
    for file in files {
        let found: Vec<CertificateRevocationListDer<'static>> =
            objects(&key, file, "revocation list (-----BEGIN X509 CRL-----)")?;
        for list in &found {
            webpki::BorrowedCertRevocationList::from_der(list).map_err(|error| {
                TlsError::of_file(&key, file, format!("a list in it is unusable: {error}"))
            })?;
        }
        lists.extend(found);
    }
    Ok(lists)
}

/// The system's own authorities, for peers that no `ca` is named for.
pub(super) fn system_authorities() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "authority of the system passed over");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256};
    use rustls::crypto::aws_lc_rs::default_provider;

    /// A folder with a certificate for `key`.
    fn folder(key: &KeyPair) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
        let certificate = params.self_signed(key).expect("a certificate").pem();
        std::fs::write(folder.path().join("own.pem"), certificate).expect("written");
        folder
    }

    fn outcome(folder: &tempfile::TempDir, key: &str) -> Result<(), String> {
        let (own, private) = (folder.path().join("own.pem"), folder.path().join("own.key"));
        std::fs::write(&private, key).expect("written");
        let read = certified("tls", &own, &private, &default_provider());
        read.map(drop).map_err(|error| error.to_string())
    }

    /// PEM of that label, on one long line, as some tools write it.
    fn pem(label: &str, der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    #[test]
    fn rsa_and_ecdsa_keys_are_read_in_each_of_their_forms() {
        let ecdsa = KeyPair::generate().expect("a key");
        assert_eq!(outcome(&folder(&ecdsa), &ecdsa.serialize_pem()), Ok(()));
        let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).expect("a key");
        let der = rsa.serialize_der();
        assert_eq!(outcome(&folder(&rsa), &pem("PRIVATE KEY", &der)), Ok(()));
        // PKCS#8 is the PKCS#1 key behind 26 octets that say it is RSA.
        assert_eq!(outcome(&folder(&rsa), &pem("RSA PRIVATE KEY", &der[26..])), Ok(()));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_remedy() {
        let (own, other) =
            (KeyPair::generate().expect("a key"), KeyPair::generate().expect("a key"));
        let folder = folder(&own);
        for (key, says) in [
            (other.serialize_pem(), "tls.certificate"),
            (pem("ENCRYPTED PRIVATE KEY", &[0; 8]), "openssl pkey"),
            (pem("PRIVATE KEY", &[0; 8]), "cannot use this key"),
            ("no key".to_owned(), "holds no private key"),
        ] {
            let refused = outcome(&folder, &key).expect_err("a refusal");
            assert!(refused.contains(says) && refused.contains("own."), "{refused}");
        }
        let missing = certificates("tls.certificate", &folder.path().join("none.pem"));
        let missing = missing.expect_err("a refusal").to_string();
        assert!(missing.contains("name a file that is there"), "{missing}");
    }
}
