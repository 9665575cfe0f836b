//! Files with logins, as Docker, Podman and older tools write them (containers-auth.json(5), Docker's
//! `config.json`, and `.dockercfg` before that).
//!
//! Entries are read as these tools read them: Go's base64 ignores line breaks, and its JSON is read as [`super::login`]
//! describes. What this module refuses: to report an error for an entry of another registry.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::path::Path;

use super::login::{Login, Malformed, member, text};
use super::reference::Reference;

/// The name of Docker Hub in Docker's files, and in its requests to helpers.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Base64 as Go decodes it. Padding may also be absent.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The format of a file with logins. The tools of each format match keys in their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AuthFileFormat {
    /// `auth.json` of Podman, skopeo and buildah. A key with a path applies to that namespace only.
    Containers,
    /// `config.json` of Docker. A key with a path applies to the whole registry.
    Docker,
    /// `.dockercfg`: only the entries, by URL.
    Legacy,
}

impl AuthFileFormat {
    /// Returns the format of a file with this name.
    pub(super) fn of(file: &Path) -> Self {
        match file.file_name().and_then(|name| name.to_str()) {
            Some(".dockercfg") => Self::Legacy,
            Some("config.json") => Self::Docker,
            _ => Self::Containers,
        }
    }
}

/// A source of a login within a file.
#[derive(Debug, PartialEq)]
pub(super) enum LoginStep<'a> {
    /// The program `docker-credential-NAME`, and the key to request from it.
    Helper { name: &'a str, key: String },
    /// An entry of the file.
    Entry { key: &'a str, entry: &'a Value },
}

/// The content of a file with logins.
pub(super) struct AuthFile {
    root: Map<String, Value>,
    format: AuthFileFormat,
}

impl AuthFile {
    /// Reads a file. Returns `None` when it does not start with a JSON object. Docker ignores text after the object,
    /// and so does this function.
    pub(super) fn parse(bytes: &[u8], format: AuthFileFormat) -> Option<Self> {
        // Docker accepts an empty file as a file without logins. Podman and skopeo reject it.
        if format == AuthFileFormat::Docker && bytes.trim_ascii().is_empty() {
            return Some(Self { root: Map::new(), format });
        }
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        match Value::deserialize(&mut reader) {
            Ok(Value::Object(root)) => Some(Self { root, format }),
            _ => None,
        }
    }

    /// Returns the sources of a login for a repository, in the order in which they are tried: the most specific key
    /// first, a helper before an entry of the same key, and the store for all registries last.
    pub(super) fn steps(&self, of: &Reference) -> Vec<LoginStep<'_>> {
        let wanted = Wanted::new(of);
        let entries = match self.format {
            AuthFileFormat::Legacy => Some(&self.root),
            _ => section(&self.root, "auths"),
        };
        let helpers = match self.format {
            AuthFileFormat::Legacy => None,
            _ => section(&self.root, "credHelpers"),
        };
        let mut ranked: Vec<(usize, LoginStep<'_>)> = Vec::new();
        for (rank, key, name) in wanted.matches(helpers, self.format) {
            if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
                ranked.push((rank, LoginStep::Helper { name, key: key.to_owned() }));
            }
        }
        let found = wanted.matches(entries, self.format);
        ranked.extend(
            found.into_iter().map(|(rank, key, entry)| (rank, LoginStep::Entry { key, entry })),
        );
        // The sort is stable, so that helpers stay before entries of the same rank.
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut steps: Vec<_> = ranked.into_iter().map(|(_, step)| step).collect();
        // As Docker, do not ask the store for a registry that has its own helper.
        let has_helper = steps.iter().any(|step| matches!(step, LoginStep::Helper { .. }));
        let store = member(&self.root, "credsStore").and_then(Value::as_str);
        let is_asked = !has_helper && self.format != AuthFileFormat::Legacy;
        if let Some(name) = store.filter(|name| is_asked && !name.is_empty()) {
            steps.push(LoginStep::Helper { name, key: wanted.usual() });
        }
        steps
    }
}

/// Returns the key that tools use for a registry when no file has another one.
pub(super) fn usual_key(of: &Reference) -> String {
    Wanted::new(of).usual()
}

/// The keys under which a file may keep the login of a repository.
struct Wanted {
    /// The repository, each namespace above it, and the registry: the most specific first.
    exact: Vec<String>,
    host: String,
}

impl Wanted {
    fn new(of: &Reference) -> Self {
        let whole = format!("{}/{}", of.host, of.repository);
        let mut exact: Vec<String> =
            whole.match_indices('/').map(|(end, _)| whole[..end].to_owned()).collect();
        exact.push(whole);
        exact.reverse();
        Self { exact, host: of.host.clone() }
    }

    fn usual(&self) -> String {
        match hub(&self.host) {
            "index.docker.io" => DOCKER_HUB_KEY.to_owned(),
            host => host.to_owned(),
        }
    }

    /// Returns the members of a section that apply to this repository, with their ranks. Rank 0 is the best.
    fn matches<'a>(
        &self,
        section: Option<&'a Map<String, Value>>,
        format: AuthFileFormat,
    ) -> Vec<(usize, &'a str, &'a Value)> {
        let Some(section) = section else { return Vec::new() };
        let mut found: Vec<_> = section
            .iter()
            .filter_map(|(key, value)| Some((self.rank(key, format)?, key.as_str(), value)))
            .collect();
        found.sort_by_key(|(rank, ..)| *rank);
        found
    }

    /// Returns the rank of a key, and `None` when it does not apply.
    fn rank(&self, key: &str, format: AuthFileFormat) -> Option<usize> {
        let stripped = key.strip_prefix("http://").unwrap_or(key);
        let stripped = stripped.strip_prefix("https://").unwrap_or(stripped);
        let host = stripped.split_once('/').map_or(stripped, |(host, _)| host);
        if format != AuthFileFormat::Legacy
            && let Some(rank) = self.exact.iter().position(|exact| exact == key)
        {
            return Some(rank);
        }
        let is_host = hub(host) == hub(&self.host);
        let is_url = stripped != key || stripped == host;
        match is_host {
            true if is_url || format == AuthFileFormat::Legacy => Some(self.exact.len()),
            true if format == AuthFileFormat::Docker => Some(self.exact.len() + 1),
            _ => None,
        }
    }
}

/// Returns the same name for all names of Docker Hub.
fn hub(host: &str) -> &str {
    match host {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        other => other,
    }
}

fn section<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    member(of, name)?.as_object()
}

/// Reads an entry. Returns `None` when it has no login: desktop tools write such entries for logins that a helper
/// keeps. A token takes precedence over a password, and `auth` over `username` and `password`.
pub(super) fn read_entry(entry: &Value) -> Result<Option<Login>, Malformed> {
    let entry = match entry {
        Value::Null => return Ok(None),
        Value::Object(entry) => entry,
        _ => return Err(Malformed),
    };
    let text = |name: &str| text(entry, name);
    let identity = text("identitytoken")?.trim();
    if !identity.is_empty() {
        return Ok(Some(Login::IdentityToken(identity.into())));
    }
    let registry = text("registrytoken")?.trim();
    if !registry.is_empty() {
        return Ok(Some(Login::RegistryToken(registry.into())));
    }
    let auth: String = text("auth")?.split_ascii_whitespace().collect();
    if auth.is_empty() {
        return Ok(Login::with_password(text("username")?, text("password")?));
    }
    let pair = BASE64.decode(auth).map_err(|_| Malformed)?;
    let pair = String::from_utf8(pair).map_err(|_| Malformed)?;
    let (username, secret) = pair.split_once(':').ok_or(Malformed)?;
    Ok(Login::with_password(username, secret.trim_matches('\0')))
}

#[cfg(test)]
#[path = "auth_file_tests.rs"]
mod tests;
