//! Names and passwords of clients: a file of `htpasswd -B`, and the header `Authorization: Basic` (RFC 7617).

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use hyper::header::AUTHORIZATION;
use ring::digest::{SHA256, digest};

use occystrap_base::error::{Error, Kind, Result};

/// Largest file of logins, in bytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Logins that were right and need no second computation of bcrypt, which is slow on purpose.
const MOST_KNOWN: usize = 1_000;

/// A hash that no password has: for names that are not in the file, so that an answer takes as long as for others.
const NO_PASSWORD: &str = "$2y$05$abcdefghijklmnopqrstuuKUVYHVHDaYmNCHGpTZ8QTHbVzWDQ0yS";

/// The logins of a file.
pub struct Logins {
    hashes: HashMap<String, String>,
    /// Digests of headers that were right.
    known: Mutex<HashSet<[u8; 32]>>,
}

impl Logins {
    /// Reads a file of `htpasswd -B`. Errors when it cannot be read, or has a line that is not `NAME:HASH` with a hash of
    /// bcrypt.
    pub fn read(path: &Path) -> Result<Arc<Self>> {
        let place = path.display().to_string();
        let failed = |cause| Error::io(Kind::Usage, "read the logins in", &place, &cause);
        if std::fs::metadata(path).map_err(failed)?.len() > LARGEST_FILE {
            return Err(Error::usage(format!("{place}: larger than {LARGEST_FILE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(failed)?;
        let mut hashes = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = format!("{place}, line {}", number + 1);
            let (name, hash) = line
                .split_once(':')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| Error::usage(format!("{place}: expected NAME:HASH")))?;
            if !["$2y$", "$2a$", "$2b$"].iter().any(|start| hash.starts_with(start)) {
                return Err(Error::usage(format!(
                    "{place}: the password of '{name}' is not hashed with bcrypt"
                ))
                .hint("make the line with 'htpasswd -nB NAME'"));
            }
            if hashes.insert(name.to_owned(), hash.to_owned()).is_some() {
                return Err(Error::usage(format!("{place}: '{name}' has a line already")));
            }
        }
        if hashes.is_empty() {
            return Err(Error::usage(format!("{place}: has no login"))
                .hint("add one with 'htpasswd -B FILE NAME'"));
        }
        Ok(Arc::new(Self { hashes, known: Mutex::default() }))
    }

    /// Returns whether a request has a right name and password.
    pub async fn admit(self: &Arc<Self>, headers: &HeaderMap) -> bool {
        let Some(header) = headers.get(AUTHORIZATION) else { return false };
        let seen: [u8; 32] = match digest(&SHA256, header.as_bytes()).as_ref().try_into() {
            Ok(seen) => seen,
            Err(_) => return false,
        };
        if self.known().contains(&seen) {
            return true;
        }
        let Some((name, password)) = header.to_str().ok().and_then(basic) else { return false };
        let logins = Arc::clone(self);
        let is_right = tokio::task::spawn_blocking(move || {
            let hash = logins.hashes.get(&name);
            let known = hash.map_or(NO_PASSWORD, String::as_str);
            let is_same = bcrypt::verify(&password, known).unwrap_or(false);
            is_same && hash.is_some()
        });
        let is_right = is_right.await.unwrap_or(false);
        if is_right {
            let mut known = self.known();
            if known.len() >= MOST_KNOWN {
                known.clear();
            }
            known.insert(seen);
        }
        is_right
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns name and password of a header.
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, encoded) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (name, password) = decoded.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn headers(text: &str) -> HeaderMap {
        let encoded = format!("Basic {}", STANDARD.encode(text));
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&encoded).unwrap())])
    }

    #[tokio::test]
    async fn only_the_right_password_is_admitted() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hash = bcrypt::hash("right", 4).unwrap();
        std::fs::write(file.path(), format!("# users\nada:{hash}\n")).unwrap();
        let logins = Logins::read(file.path()).unwrap();
        for _ in 0..2 {
            assert!(logins.admit(&headers("ada:right")).await);
            assert!(!logins.admit(&headers("ada:wrong")).await);
            assert!(!logins.admit(&headers("eve:right")).await);
            assert!(!logins.admit(&headers("eve:")).await);
            assert!(!logins.admit(&HeaderMap::new()).await);
        }
    }

    #[test]
    fn files_without_bcrypt_are_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, expected) in [
            (
                "ada:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n",
                "line 1: the password of 'ada' is not hashed with bcrypt",
            ),
            ("ada\n", "line 1: expected NAME:HASH"),
            ("\n", "has no login"),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let error = Logins::read(file.path()).err().unwrap();
            assert!(error.to_string().ends_with(expected), "{error}");
        }
    }
}
