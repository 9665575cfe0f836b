//! Certificates of servers, and of the user where a server asks for one.
//!
//! A certificate is accepted when an authority of the system's, or one that the user named, has signed it. A
//! certificate that is itself among those is accepted as well, as by curl and Go: most private registries have a
//! self-signed one, which `openssl req -x509` marks as an authority's (CA:TRUE). What it refuses: any certificate for
//! another name, or outside of its time.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, OtherError,
    RootCertStore, SignatureScheme,
};

/// Authorities that are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authorities {
    /// Those of the system, and the named ones.
    SystemAndNamed,
    /// The named ones alone.
    Named,
}

/// Makes a configuration. Errors when the system has no authorities and none is named, or when a named certificate
/// cannot be read.
pub(crate) fn configure(
    authorities: Authorities,
    named: &[CertificateDer<'static>],
    identities: Vec<Arc<CertifiedKey>>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let named = named.to_vec();
    let chains: Option<Arc<dyn ServerCertVerifier>> = match authorities {
        Authorities::SystemAndNamed => {
            Some(Arc::new(rustls_platform_verifier::Verifier::new_with_extra_roots(
                named.iter().cloned(),
                provider.clone(),
            )?))
        }
        Authorities::Named if named.is_empty() => None,
        Authorities::Named => Some(webpki(&named, &provider)?),
    };
    let verifier = Verifier { authorities, named, chains, system: OnceLock::new(), provider };
    let provider = verifier.provider.clone();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(match identities.is_empty() {
        true => builder.with_no_client_auth(),
        false => builder.with_client_cert_resolver(Arc::new(Identities(identities))),
    })
}

fn webpki(
    roots: &[CertificateDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let builder = WebPkiServerVerifier::builder_with_provider(store.into(), provider.clone());
    let verifier = builder.build().map_err(|cause| TlsError::General(cause.to_string()))?;
    Ok(verifier)
}

#[derive(Debug)]
struct Verifier {
    authorities: Authorities,
    named: Vec<CertificateDer<'static>>,
    /// Verifier of chains up to an authority; `None` where no authority is trusted.
    chains: Option<Arc<dyn ServerCertVerifier>>,
    /// Certificates of the system, read when they are needed.
    system: OnceLock<Vec<CertificateDer<'static>>>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn is_trusted_itself(&self, certificate: &CertificateDer<'_>) -> bool {
        if self.named.iter().any(|named| named == certificate) {
            return true;
        }
        self.authorities == Authorities::SystemAndNamed
            && self
                .system
                .get_or_init(|| rustls_native_certs::load_native_certs().certs)
                .iter()
                .any(|known| known == certificate)
    }

    /// Checks a certificate that is trusted itself: its time and its name. webpki checks the time first, so that a
    /// certificate for which it reports one of these errors is within its time; a test pins that.
    fn check_itself(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let alone = webpki(&[certificate.clone().into_owned()], &self.provider)?;
        match alone.verify_server_cert(certificate, &[], name, &[], now) {
            Err(error) if is_about_issuer(&error) => {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }
}

/// Returns whether an error says only that no authority has signed the certificate.
fn is_about_issuer(error: &TlsError) -> bool {
    let TlsError::InvalidCertificate(reason) = error else { return false };
    // A certificate that another authority of the same name signed has a bad signature.
    matches!(reason, CertificateError::UnknownIssuer | CertificateError::BadSignature)
        || is_authority(reason)
}

/// Returns whether an error says that the certificate is an authority's (CA:TRUE).
pub(crate) fn is_authority(reason: &CertificateError) -> bool {
    webpki_reason(reason) == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Returns whether an error says that the certificate is of X.509's first versions.
pub(crate) fn is_old_version(reason: &CertificateError) -> bool {
    webpki_reason(reason) == Some(&webpki::Error::UnsupportedCertVersion)
}

/// Error for a key that the TLS library rejects, in a certificate that may be right otherwise. The library itself
/// reports a bad signature.
#[derive(Debug, thiserror::Error)]
#[error("a key is of RSA below 2048 bits")]
struct ShortKey;

/// Returns whether an error says that a key is too short.
pub(crate) fn is_short_key(reason: &CertificateError) -> bool {
    matches!(reason, CertificateError::Other(other) if other.0.is::<ShortKey>())
}

/// Returns whether a certificate has an RSA key that is shorter than the TLS library accepts.
fn has_short_key(certificate: &CertificateDer<'_>) -> bool {
    /// `rsaEncryption` in DER.
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    /// Bytes of the modulus alone in a key of 2048 bits.
    const SHORTEST: usize = 256;
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return false };
    let key = certificate.subject_public_key_info();
    key.len() < SHORTEST && key.windows(RSA.len()).any(|part| part == RSA)
}

/// Reports a key that is too short as the cause of a bad signature.
fn name_short_key<'a>(
    error: TlsError,
    mut certificates: impl Iterator<Item = &'a CertificateDer<'a>>,
) -> TlsError {
    let is_bad = matches!(error, TlsError::InvalidCertificate(CertificateError::BadSignature));
    match is_bad && certificates.any(has_short_key) {
        true => CertificateError::Other(OtherError(Arc::new(ShortKey))).into(),
        false => error,
    }
}

/// Returns whether an error says that the certificate is for another use than that of a server.
pub(crate) fn is_other_use(reason: &CertificateError) -> bool {
    /// Message of the platform verifier; its type is private.
    const OTHER_USE: &str = "certificate had invalid extensions";
    match reason {
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => true,
        CertificateError::Other(other) => other.0.to_string() == OTHER_USE,
        _ => false,
    }
}

/// Returns whether an error says that the certificate has an unknown critical extension.
pub(crate) fn is_unknown_extension(reason: &CertificateError) -> bool {
    webpki_reason(reason) == Some(&webpki::Error::UnsupportedCriticalExtension)
}

fn webpki_reason(reason: &CertificateError) -> Option<&webpki::Error> {
    match reason {
        CertificateError::Other(other) => other.0.downcast_ref(),
        _ => None,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let verdict = match &self.chains {
            Some(chains) => chains.verify_server_cert(certificate, intermediates, name, ocsp, now),
            None => return Err(CertificateError::UnknownIssuer.into()),
        };
        match verdict {
            Err(error) if is_about_issuer(&error) && self.is_trusted_itself(certificate) => {
                self.check_itself(certificate, name, now)
            }
            Err(error) => Err(name_short_key(
                error,
                intermediates.iter().chain(&self.named).chain([certificate]),
            )),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
            .map_err(|error| name_short_key(error, [certificate].into_iter()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
            .map_err(|error| name_short_key(error, [certificate].into_iter()))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Certificates of the user for one server.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    /// Returns the first certificate that one of the authorities of the server's list has signed, else the first whose
    /// signature the server can check.
    fn resolve(
        &self,
        authorities: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let fits = |identity: &&Arc<CertifiedKey>| identity.key.choose_scheme(schemes).is_some();
        let is_signed = |identity: &&Arc<CertifiedKey>| {
            identity.cert.iter().filter_map(|der| webpki::EndEntityCert::try_from(der).ok()).any(
                // A name of an authority begins with the tag and length that `issuer` lacks.
                |certificate| authorities.iter().any(|name| name.ends_with(certificate.issuer())),
            )
        };
        let usable = || self.0.iter().filter(fits);
        usable().find(is_signed).or_else(|| usable().next()).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::certificates;
    use super::*;

    /// Certificate with an RSA key of 1,024 bits.
    const SHORT: &str = "-----BEGIN CERTIFICATE-----\n\
        MIICHDCCAYWgAwIBAgIULu3lG5MngnSPobAgZttJn6IQUCAwDQYJKoZIhvcNAQEL\n\
        BQAwFDESMBAGA1UEAwwJci5leGFtcGxlMCAXDTI2MTEyOTIyNDYxMloYDzIxMjYx\n\
        MTA1MjI0NjEyWjAUMRIwEAYDVQQDDAlyLmV4YW1wbGUwgZ8wDQYJKoZIhvcNAQEB\n\
        BQADgY0AMIGJAoGBAO7jfHJUal+CB9P/o5YbJTcK8rd0DqCCSqJngvKsNCKeacFk\n\
        3Ba4TQ1v5JUkcB2ng1CpNPA88IFbS3b5+Ka8nZp2WM++LXscqRtYiN/a3ioRmRke\n\
        lQdNwRJmoBnzEkQSedfgOvB6hTyeizjLvinn+ZetQnLjRaY1QuzeOlqFGxv1AgMB\n\
        AAGjaTBnMB0GA1UdDgQWBBQJyRr7URZtBePOlxLKcpUSEniQBjAfBgNVHSMEGDAW\n\
        gBQJyRr7URZtBePOlxLKcpUSEniQBjAPBgNVHRMBAf8EBTADAQH/MBQGA1UdEQQN\n\
        MAuCCXIuZXhhbXBsZTANBgkqhkiG9w0BAQsFAAOBgQATdZ/n6iVruETxr9GRmMGn\n\
        bCCCmRbEBKcvVIi/zGwQ8N1tpR0mPPD6U+eulsT5htoOzRP/kfOZZU0zqIiZnN3V\n\
        mzOai0wW1rHxLoApWe4u2OYZk38BxDCK4/UvTtTz8JR2D2pTsB5zBYutc6xHVVz2\n\
        0JElvFAsde25B+kBM3+aJw==\n\
        -----END CERTIFICATE-----";

    #[test]
    fn a_short_key_is_named_as_the_cause_of_a_bad_signature() {
        let short = certificates::certificates(SHORT.as_bytes()).unwrap();
        let long = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap();
        let long = long.cert.der().clone();
        let is_named = |reason: CertificateError, certificate: &CertificateDer<'_>| {
            let error = name_short_key(reason.into(), [certificate].into_iter());
            matches!(error, TlsError::InvalidCertificate(reason) if is_short_key(&reason))
        };
        assert!(is_named(CertificateError::BadSignature, &short[0]));
        assert!(!is_named(CertificateError::BadSignature, &long));
        assert!(!is_named(CertificateError::Expired, &short[0]));
    }
}
