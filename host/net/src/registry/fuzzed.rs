//! Entry points of the fuzzers (`occystrap::fuzzing`): the readers of files with logins, of answers of helpers, and of
//! challenges.

use super::auth_file::{AuthFile, AuthFileFormat, LoginStep, read_entry};
use super::challenge::parse;
use super::reference::Reference;
use super::session::usable;
use super::{helper, token};

/// Images of registries that have several names in files.
const IMAGES: [&str; 3] = ["docker.io/library/a:1", "quay.io/team/app:1", "localhost:5000/a:1"];

/// Reads a file with logins in each format, and asserts that an entry is used for no other registry than that of its
/// key. Returns whether the data is such a file.
pub fn auth_file(data: &[u8]) -> bool {
    let _ = helper::parse(data);
    let mut is_file = false;
    for format in [AuthFileFormat::Containers, AuthFileFormat::Docker, AuthFileFormat::Legacy] {
        let Some(file) = AuthFile::parse(data, format) else { continue };
        is_file = true;
        for image in IMAGES {
            let Ok(reference) = Reference::parse(image) else { continue };
            for step in file.steps(&reference) {
                let LoginStep::Entry { key, entry } = step else { continue };
                assert!(key.contains(&reference.host), "{key} is not for {image}");
                let _ = read_entry(entry);
            }
        }
    }
    is_file
}

/// Reads a header with challenges. Returns whether occystrap supports one of them.
pub fn challenge(data: &[u8]) -> bool {
    let Ok(header) = std::str::from_utf8(data) else { return false };
    let challenges = parse(header);
    for challenge in &challenges {
        assert!(!challenge.scheme.bytes().any(|byte| byte.is_ascii_uppercase()));
        if let Ok(realm) = token::realm(challenge) {
            assert!(realm.username().is_empty() && realm.password().is_none(), "{realm}");
        }
        let bare = challenge.clone().without_scope();
        assert_eq!(bare.parameter("scope"), None);
        assert_eq!(bare.parameter("realm"), challenge.parameter("realm"));
    }
    usable(&challenges).is_some()
}
