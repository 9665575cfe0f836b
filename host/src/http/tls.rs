//! How servers prove who they are, and how occystrap does, where a server asks for a certificate.
//!
//! A certificate is accepted when an authority of the system's, or one that the user named, has signed it. A
//! certificate that is itself among those is accepted as well, as curl and Go do: most private registries have a
//! self-signed one, which `openssl req -x509` marks as an authority's (CA:TRUE). What it refuses: any
//! certificate for another name, or outside of its time.

use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as TlsError, RootCertStore,
    SignatureScheme,
};

/// Which authorities are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authorities {
    /// Those of the system, and those that are named.
    SystemAndNamed,
    /// Those that are named alone.
    Named,
}

/// Makes a configuration. Errors when the system has no authorities, and none is named, or a named certificate
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
    /// Checks chains up to an authority; `None` where no authority is trusted.
    chains: Option<Arc<dyn ServerCertVerifier>>,
    /// The certificates of the system, read when they are needed.
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

    /// Checks a certificate that is trusted itself: its time and its name. webpki looks at the time first, so
    /// that a certificate of which it says one of these things is within its time; a test pins that.
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

/// Whether an error says nothing worse than that no authority has signed the certificate.
fn is_about_issuer(error: &TlsError) -> bool {
    let TlsError::InvalidCertificate(reason) = error else { return false };
    // One that an authority of the same name did not sign has a bad signature.
    matches!(reason, CertificateError::UnknownIssuer | CertificateError::BadSignature)
        || is_authority(reason)
}

/// Whether an error says that the certificate is an authority's (CA:TRUE).
pub(crate) fn is_authority(reason: &CertificateError) -> bool {
    webpki_reason(reason) == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// Whether an error says that the certificate is of X.509's first versions.
pub(crate) fn is_old_version(reason: &CertificateError) -> bool {
    webpki_reason(reason) == Some(&webpki::Error::UnsupportedCertVersion)
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
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificates of the user for one server.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    /// Returns the first certificate that one of the authorities that the server names has signed, else the
    /// first that the server can check at all.
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
