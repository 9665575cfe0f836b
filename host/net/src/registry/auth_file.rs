//! Files with logins, as Docker, Podman and older tools write them (containers-auth.json(5), Docker's
//! `config.json`, and `.dockercfg` before that).
//!
//! Entries are read as these tools read them: Go's base64 ignores line breaks, its JSON ignores the case of
//! names, `null` is an empty string. What it refuses: to judge the entry of another registry.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::path::Path;

use super::credential::Secret;
use super::reference::Reference;

/// How Docker names Docker Hub in its files and to its helpers.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Base64 as Go decodes it, and also without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The tool that a file belongs to: each matches keys in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Podman's, skopeo's and buildah's `auth.json`. A key with a path is for that namespace alone.
    Containers,
    /// Docker's `config.json`. Docker reads a key with a path as one for the whole registry.
    Docker,
    /// `.dockercfg`: the entries alone, by URL.
    Legacy,
}

impl Form {
    /// Returns the form that a file's name stands for.
    pub(super) fn of(file: &Path) -> Self {
        match file.file_name().and_then(|name| name.to_str()) {
            Some(".dockercfg") => Self::Legacy,
            Some("config.json") => Self::Docker,
            _ => Self::Containers,
        }
    }
}

/// A place within a file that may give a login.
#[derive(Debug, PartialEq)]
pub(super) enum Step<'a> {
    /// The program `docker-credential-NAME`, which is asked for a key.
    Helper { name: &'a str, key: String },
    /// An entry of the file itself.
    Entry { key: &'a str, entry: &'a Value },
}

/// A value of another type than a text, or an entry for the right registry that makes no login.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A file with logins.
pub(super) struct AuthFile {
    root: Map<String, Value>,
    form: Form,
}

impl AuthFile {
    /// Reads a file; `None` for what is not a JSON object. What follows the object is ignored, as by Docker.
    pub(super) fn parse(bytes: &[u8], form: Form) -> Option<Self> {
        // Docker reads an empty file as one without logins; Podman and skopeo refuse it.
        if form == Form::Docker && bytes.trim_ascii().is_empty() {
            return Some(Self { root: Map::new(), form });
        }
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        match Value::deserialize(&mut reader) {
            Ok(Value::Object(root)) => Some(Self { root, form }),
            _ => None,
        }
    }

    /// Returns the places that may have a login for a repository, in the order in which they are tried: the most
    /// special key first, a helper before an entry of the same key, the store for all registries last.
    pub(super) fn steps(&self, of: &Reference) -> Vec<Step<'_>> {
        let wanted = Wanted::new(of);
        let entries = match self.form {
            Form::Legacy => Some(&self.root),
            _ => section(&self.root, "auths"),
        };
        let helpers = match self.form {
            Form::Legacy => None,
            _ => section(&self.root, "credHelpers"),
        };
        let mut ranked: Vec<(usize, Step<'_>)> = Vec::new();
        for (rank, key, name) in wanted.matches(helpers, self.form) {
            if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
                ranked.push((rank, Step::Helper { name, key: key.to_owned() }));
            }
        }
        let found = wanted.matches(entries, self.form);
        ranked
            .extend(found.into_iter().map(|(rank, key, entry)| (rank, Step::Entry { key, entry })));
        // Stable: helpers stay before entries of the same rank.
        ranked.sort_by_key(|(rank, _)| *rank);
        let mut steps: Vec<_> = ranked.into_iter().map(|(_, step)| step).collect();
        // A registry with a helper of its own is not in the store, for Docker either.
        let has_helper = steps.iter().any(|step| matches!(step, Step::Helper { .. }));
        let store = member(&self.root, "credsStore").and_then(Value::as_str);
        let is_asked = !has_helper && self.form != Form::Legacy;
        if let Some(name) = store.filter(|name| is_asked && !name.is_empty()) {
            steps.push(Step::Helper { name, key: wanted.usual() });
        }
        steps
    }
}

/// Returns the name that tools use for a registry where no file says another one.
pub(super) fn usual_key(of: &Reference) -> String {
    Wanted::new(of).usual()
}

/// The keys that a repository's login may be kept under.
struct Wanted {
    /// The repository and each namespace above it, down to the registry: the most special first.
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

    /// Returns what a section has for this repository, with its rank: 0 is the best.
    fn matches<'a>(
        &self,
        section: Option<&'a Map<String, Value>>,
        form: Form,
    ) -> Vec<(usize, &'a str, &'a Value)> {
        let Some(section) = section else { return Vec::new() };
        let mut found: Vec<_> = section
            .iter()
            .filter_map(|(key, value)| Some((self.rank(key, form)?, key.as_str(), value)))
            .collect();
        found.sort_by_key(|(rank, ..)| *rank);
        found
    }

    /// Returns how well a key fits, and `None` where it is for something else.
    fn rank(&self, key: &str, form: Form) -> Option<usize> {
        let stripped = key.strip_prefix("http://").unwrap_or(key);
        let stripped = stripped.strip_prefix("https://").unwrap_or(stripped);
        let host = stripped.split_once('/').map_or(stripped, |(host, _)| host);
        if form != Form::Legacy
            && let Some(rank) = self.exact.iter().position(|exact| exact == key)
        {
            return Some(rank);
        }
        let is_host = hub(host) == hub(&self.host);
        let is_url = stripped != key || stripped == host;
        match is_host {
            true if is_url || form == Form::Legacy => Some(self.exact.len()),
            true if form == Form::Docker => Some(self.exact.len() + 1),
            _ => None,
        }
    }
}

/// Returns one name for the names of Docker Hub.
fn hub(host: &str) -> &str {
    match host {
        "docker.io" | "registry-1.docker.io" => "index.docker.io",
        other => other,
    }
}

fn section<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    member(of, name)?.as_object()
}

/// Returns a member by its name, in any case where none is spelled exactly so, as Go does.
pub(super) fn member<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let any_case =
        || of.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    of.get(name).or_else(any_case)
}

/// Returns a text by its name; an empty one where it is absent or `null`.
pub(super) fn text<'a>(of: &'a Map<String, Value>, name: &str) -> Result<&'a str, Malformed> {
    match member(of, name) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Malformed),
    }
}

/// Reads an entry. `None` for one without a login: desktop tools write such for what a helper keeps. A token
/// goes before a password, and `auth` before `username` and `password`.
pub(super) fn login(entry: &Value) -> Result<Option<Secret>, Malformed> {
    let entry = match entry {
        Value::Null => return Ok(None),
        Value::Object(entry) => entry,
        _ => return Err(Malformed),
    };
    let text = |name: &str| text(entry, name);
    let identity = text("identitytoken")?.trim();
    if !identity.is_empty() {
        return Ok(Some(Secret::IdentityToken(identity.into())));
    }
    let registry = text("registrytoken")?.trim();
    if !registry.is_empty() {
        return Ok(Some(Secret::RegistryToken(registry.into())));
    }
    let auth: String = text("auth")?.split_ascii_whitespace().collect();
    if auth.is_empty() {
        return Ok(password(text("username")?, text("password")?));
    }
    let pair = BASE64.decode(auth).map_err(|_| Malformed)?;
    let pair = String::from_utf8(pair).map_err(|_| Malformed)?;
    let (username, secret) = pair.split_once(':').ok_or(Malformed)?;
    Ok(password(username, secret.trim_matches('\0')))
}

/// Returns a login by password, and `None` for an empty one, which means: ask without a login.
pub(super) fn password(username: &str, password: &str) -> Option<Secret> {
    let is_login = !username.is_empty() || !password.is_empty();
    let secret = || Secret::Password { username: username.to_owned(), password: password.into() };
    is_login.then(secret)
}

#[cfg(test)]
#[path = "auth_file_tests.rs"]
mod tests;
