//! Certificates in files: bundles that the user names, and the directories of a registry (containers-certs.d(5), and
//! Docker's `/etc/docker/certs.d`).
//!
//! What it refuses: a certificate of the user without its key, and a key without its certificate.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys, RootCertStore};

use occystrap_base::error::{Error, Result, io_reason};
use occystrap_base::files::regular;

/// Files of one directory that are read: ordinary ones have three.
const MOST_FILES: usize = 256;

/// Certificates in the directories of a registry.
#[derive(Debug, Default)]
pub(crate) struct CertificateFolder {
    /// Certificates to trust besides the system's.
    pub(crate) authorities: Vec<CertificateDer<'static>>,
    /// Certificates of the user, with their keys.
    pub(crate) identities: Vec<Arc<CertifiedKey>>,
}

impl CertificateFolder {
    pub(crate) fn is_empty(&self) -> bool {
        self.authorities.is_empty() && self.identities.is_empty()
    }
}

/// Reads a bundle: the certificates of a PEM file. Errors when it cannot be read, or has no certificate.
pub(crate) fn bundle(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let place = file.display();
    let pem = regular::read(file, regular::LARGEST_PEM).map_err(|cause| {
        Error::usage(format!("cannot read the CA bundle '{place}': {}", io_reason(&cause)))
    })?;
    match certificates(&pem) {
        Some(found) => Ok(found),
        None => Err(Error::usage(format!("the CA bundle '{place}' holds no certificate"))
            .hint("a bundle is a text file with one or more '-----BEGIN CERTIFICATE-----' blocks")),
    }
}

/// Returns the certificates of a PEM file. A malformed certificate is skipped, as by curl; `None` where none is left.
pub(crate) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(pem).filter_map(|certificate| certificate.ok());
    let is_usable = |certificate: &CertificateDer<'static>| {
        RootCertStore::empty().add(certificate.clone()).is_ok()
    };
    let found: Vec<_> = all.filter(is_usable).collect();
    (!found.is_empty()).then_some(found)
}

/// Makes an identity from a certificate and its key, both in PEM. Errors say what is wrong. A certificate of X.509's
/// version 1, which `openssl x509 -req` makes without extensions, cannot be read here: the server has to know it, and
/// checks it.
pub(crate) fn identity(certificate: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, String> {
    let chain = certificates(certificate).ok_or("there is no certificate in it")?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "there is no key for it in PEM")?;
    let key = ring::default_provider().key_provider.load_private_key(key).map_err(|_| {
        "its key is not of a kind that is supported: RSA of 2048 bits and more, P-256, P-384, Ed25519"
    })?;
    let made = CertifiedKey::new(chain, key);
    match made.keys_match() {
        Err(TlsError::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err("its key belongs to another certificate".to_owned())
        }
        _ => Ok(Arc::new(made)),
    }
}

/// Returns the directories that tools search for a host's certificates, the user's own first: those of Podman, rootless
/// Docker and Docker Desktop, and then the system's.
pub(crate) fn roots(home: Option<PathBuf>) -> Vec<PathBuf> {
    let own = [".config/containers/certs.d", ".config/docker/certs.d", ".docker/certs.d"];
    let home = home.filter(|home| home.is_absolute());
    let own = own.iter().filter_map(|name| home.as_ref().map(|home| home.join(name)));
    own.chain(["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from)).collect()
}

/// Reads the certificates for a host, `HOST` or `HOST:PORT` as in a reference. Certificates to trust come from all
/// directories, certificates of the user from the first directory that has any. Errors when a file there cannot be
/// used. A directory without read permission is skipped, as by Podman.
pub(crate) fn of_host(roots: &[PathBuf], host: &str) -> Result<CertificateFolder> {
    let mut all = CertificateFolder::default();
    // The name must be a single name: nothing leads out of the root.
    if host.contains(['/', '\0']) || host.starts_with('.') {
        return Ok(all);
    }
    for root in roots {
        let found = read(&root.join(host))?;
        all.authorities.extend(found.authorities);
        if all.identities.is_empty() {
            all.identities = found.identities;
        }
    }
    Ok(all)
}

fn read(folder: &Path) -> Result<CertificateFolder> {
    let mut found = CertificateFolder::default();
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) => {
            if cause.kind() == io::ErrorKind::PermissionDenied {
                tracing::debug!(folder = %folder.display(), "may not be read");
            }
            return Ok(found);
        }
    };
    let paths = entries.filter_map(|entry| entry.ok()).map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = paths.take(MOST_FILES).collect();
    paths.sort();
    for path in &paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => found.authorities.extend(authorities(path)),
            Some("cert") => {
                let key = pair(path, "key", &paths)?;
                let read = |path: &Path| {
                    regular::read(path, regular::LARGEST_PEM)
                        .map_err(|cause| unusable(path, &io_reason(&cause)))
                };
                let made = identity(&read(path)?, &read(&key)?);
                found.identities.push(made.map_err(|why| unusable(path, &why))?);
            }
            Some("key") => drop(pair(path, "cert", &paths)?),
            _ => {}
        }
    }
    Ok(found)
}

/// Returns the certificates of one file. A malformed file is skipped, as by Docker and Podman.
fn authorities(path: &Path) -> Vec<CertificateDer<'static>> {
    let pem = regular::read(path, regular::LARGEST_PEM);
    let found = pem.ok().and_then(|pem| certificates(&pem)).unwrap_or_default();
    if found.is_empty() {
        tracing::warn!("'{}' holds no certificate that can be read", path.display());
    }
    found
}

/// Returns the file with the same name and another extension, in the same directory.
fn pair(path: &Path, extension: &str, paths: &[PathBuf]) -> Result<PathBuf> {
    let other = path.with_extension(extension);
    match paths.contains(&other) {
        true => Ok(other),
        false => Err(Error::usage(format!(
            "'{}' exists without '{}', and a server needs both",
            path.display(),
            other.display()
        ))
        .hint("a certificate to trust has the extension .crt; one of your own has .cert, beside its .key")),
    }
}

fn unusable(path: &Path, why: &str) -> Error {
    Error::usage(format!("cannot use '{}': {why}", path.display()))
        .hint("expected a certificate (.cert) and its key (.key) in PEM, without a passphrase")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Certificate of version 1, as `openssl x509 -req` makes it without extensions.
    const VERSION_1: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBFjCBvQIUP4b/9ZeHNvqht0zJWFkQZwj/MvkwCgYIKoZIzj0EAwIwDTELMAkG\n\
        A1UEAwwCbWUwIBcNMjYxMTI5MjI0NjEyWhgPMjEyNjExMDUyMjQ2MTJaMA0xCzAJ\n\
        BgNVBAMMAm1lMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETNYCFehkaJsjUkxR\n\
        6TmNQr+CewgJA+9dWEoSSqo6HySf23BmFyuGOAYTegQejKPtvf0uF1eCbk4qMBau\n\
        +6GGkzAKBggqhkjOPQQDAgNIADBFAiB5M581OJY5KB60N8N7oEHI3rv7svgEg35p\n\
        z69mrG/g8AIhAJ8mGDIlmCFNRKA+asBSdFFkrGrwKpMyBQPC6DPk3LFB\n\
        -----END CERTIFICATE-----";
    const KEY_OF_VERSION_1: &str = "-----BEGIN PRIVATE KEY-----\n\
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgfOG952quE30/vzoJ\n\
        RFc7me+6I9NFxNW2yNvusnWFznihRANCAARM1gIV6GRomyNSTFHpOY1Cv4J7CAkD\n\
        711YShJKqjofJJ/bcGYXK4Y4BhN6BB6Mo+29/S4XV4JuTiowFq77oYaT\n\
        -----END PRIVATE KEY-----";

    #[test]
    fn a_certificate_of_version_1_is_one_of_the_user_s() {
        assert!(identity(VERSION_1.as_bytes(), KEY_OF_VERSION_1.as_bytes()).is_ok());
        let (certificate, key) = made();
        assert!(identity(certificate.as_bytes(), key.as_bytes()).is_ok());
        let other = identity(certificate.as_bytes(), KEY_OF_VERSION_1.as_bytes());
        assert_eq!(other.unwrap_err(), "its key belongs to another certificate");
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(["r.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn folders_are_read_as_docker_and_podman_read_them() {
        let (certificate, key) = made();
        let (ca, cert, key) = (certificate.as_str(), certificate.as_str(), key.as_str());
        let other = &*made().1;
        for (files, expected) in [
            (&[][..], Ok((0, 0))),
            (&[("r:5000/ca.crt", ca)], Ok((1, 0))),
            (&[("r:5000/any-name.crt", ca), ("r:5000/notes.txt", "x")], Ok((1, 0))),
            (&[("r:5000/client.cert", cert), ("r:5000/client.key", key)], Ok((0, 1))),
            (&[("r:5000/ca.crt", ca), ("r:5000/c.cert", cert), ("r:5000/c.key", key)], Ok((1, 1))),
            // For another registry, or another port of this one.
            (&[("r/ca.crt", ca)], Ok((0, 0))),
            (&[("r:5001/ca.crt", ca)], Ok((0, 0))),
            (&[("r:5000/ca.crt", "no certificate")], Ok((0, 0))),
            (&[("r:5000/ca.pem", ca)], Ok((0, 0))),
            (&[("r:5000/c.cert", cert)], Err("without")),
            (&[("r:5000/c.key", key)], Err("without")),
            (&[("r:5000/c.cert", "x"), ("r:5000/c.key", key)], Err("no certificate in it")),
            (&[("r:5000/c.cert", cert), ("r:5000/c.key", "x")], Err("no key for it")),
            (&[("r:5000/c.cert", cert), ("r:5000/c.key", other)], Err("another certificate")),
        ] {
            let root = tempfile::tempdir().unwrap();
            for (name, content) in files {
                let path = root.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
            let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
            let found = of_host(&[root.path().to_owned()], "r:5000");
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    let found = (found.authorities.len(), found.identities.len());
                    assert_eq!(found, expected, "{names:?}");
                }
                (Err(error), Err(expected)) => {
                    assert!(error.to_string().contains(expected), "{names:?}: {error}");
                    assert_eq!(error.exit_code(), 2);
                }
                (found, _) => panic!("{names:?}: {:?}", found.map(|_| ())),
            }
        }
    }

    #[test]
    fn folders_are_those_of_podman_and_docker() {
        let system = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        assert_eq!(roots(None), system);
        assert_eq!(roots(Some(PathBuf::new())), system);
        let own =
            ["/h/.config/containers/certs.d", "/h/.config/docker/certs.d", "/h/.docker/certs.d"];
        let all = [&own.map(PathBuf::from)[..], &system].concat();
        assert_eq!(roots(Some("/h".into())), all);
    }

    #[test]
    fn authorities_of_all_folders_count_and_the_identity_of_the_first() {
        let (certificate, key) = made();
        let [own, system] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        for root in [&own, &system] {
            let folder = root.path().join("r");
            std::fs::create_dir(&folder).unwrap();
            for (name, text) in
                [("ca.crt", &certificate), ("c.cert", &certificate), ("c.key", &key)]
            {
                std::fs::write(folder.join(name), text).unwrap();
            }
        }
        let roots = [own.path().to_owned(), system.path().to_owned()];
        let found = of_host(&roots, "r").unwrap();
        assert_eq!((found.authorities.len(), found.identities.len()), (2, 1));
        assert!(of_host(&roots, "../r").unwrap().is_empty());
    }
}
