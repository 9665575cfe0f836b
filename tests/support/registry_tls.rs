//! A certificate for `localhost` and 127.0.0.1, created when it is needed.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

/// A certificate and its key.
pub struct Identity {
    /// In PEM.
    pub certificate: String,
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
    /// The authority that has to have signed the certificates of clients.
    clients: Option<CertificateDer<'static>>,
}

impl Identity {
    pub fn new() -> Self {
        Self::of(&parameters(&["localhost", "127.0.0.1"]), None)
    }

    /// Signed by `authority`, or by itself.
    pub fn of(
        parameters: &CertificateParams,
        authority: Option<&CertifiedIssuer<'_, KeyPair>>,
    ) -> Self {
        let key = KeyPair::generate().unwrap();
        let made = match authority {
            Some(authority) => parameters.signed_by(&key, authority),
            None => parameters.self_signed(&key),
        };
        let made = made.unwrap();
        Self {
            certificate: made.pem(),
            chain: vec![made.der().clone()],
            key: key.serialize_der(),
            clients: None,
        }
    }

    /// The same, for clients that have a certificate of `authority`.
    pub fn for_clients_of(self, authority: &CertifiedIssuer<'_, KeyPair>) -> Self {
        Self { clients: Some(authority.der().clone()), ..self }
    }

    /// The key, in PEM.
    pub fn key(&self) -> String {
        KeyPair::try_from(self.key.as_slice()).unwrap().serialize_pem()
    }

    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = rustls::RootCertStore::empty();
                roots.add(authority.clone()).unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let config = builder.with_single_cert(self.chain.clone(), key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Returns the content of a certificate for these names and addresses.
pub fn parameters(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).unwrap()
}

/// The same, of an authority (CA:TRUE): what `openssl req -x509` makes.
pub fn marked_as_authority(names: &[&str]) -> CertificateParams {
    let mut parameters = parameters(names);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters
}

/// An authority of a company.
pub fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut parameters = marked_as_authority(&[]);
    parameters.distinguished_name.push(DnType::CommonName, "Company CA");
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}
