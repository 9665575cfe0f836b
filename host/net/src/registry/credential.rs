//! The search for the user's login at a registry: on the command line, and in the files and credential helpers of
//! `docker login` and `podman login`.
//!
//! The search starts only after the registry asks for a login, or sends an answer that may hide something from users
//! without one. What this module refuses: to show a secret, or any output of a helper.

use tokio::sync::oneshot;

use super::auth_file::{self, AuthFile, AuthFileFormat, LoginStep};
use super::auth_places::{LoginPlace, places, shown};
use super::helper::{self, Trouble};
use super::login::Login;
use super::reference::Reference;
use crate::http::settings::Settings;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result, io_reason, printable};
use occystrap_base::files::regular;

/// The largest file with logins that is read, in bytes. Real files have some kilobytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// The outcome of the search.
pub(super) struct Credential {
    pub(super) login: Option<Login>,
    /// The place of the login, or the reason why there is none. It is part of errors.
    pub(super) origin: String,
    /// Files and helpers that could not be used.
    pub(super) troubles: Vec<Error>,
}

impl Credential {
    fn new(login: Login, origin: impl Into<String>) -> Self {
        Self { login: Some(login), origin: origin.into(), troubles: Vec::new() }
    }

    fn none(origin: impl Into<String>) -> Self {
        Self { login: None, origin: origin.into(), troubles: Vec::new() }
    }
}

/// Searches for the login of a repository. Helpers run in a separate thread, because they may ask the user a question,
/// or hang. Errors when the file that the user named cannot be used, or the run is cancelled.
pub(super) async fn find(
    settings: &Settings,
    reference: &Reference,
    cancel: &Cancel,
) -> Result<Credential> {
    if let (Some(username), Some(password)) = (&settings.username, &settings.password) {
        let origin = settings.login_origin;
        return Ok(match Login::with_password(username, password.expose()) {
            Some(login) => Credential::new(login, origin),
            None => Credential::none(format!("the login of {origin} is empty")),
        });
    }
    let authfile = settings.authfile.clone();
    let reference = reference.clone();
    let (send, receive) = oneshot::channel();
    let looking = move || {
        // When the run was cancelled, the answer is no longer received.
        let _ = send.send(match authfile {
            Some(file) => search_named_first(&LoginPlace::file(file), &usual_places(), &reference),
            None => Ok(search(&usual_places(), &reference)),
        });
    };
    let spawned = std::thread::Builder::new().name("credentials".into()).spawn(looking);
    spawned.map_err(|cause| {
        Error::new(Kind::Auth, format!("cannot look for credentials: {}", io_reason(&cause)))
    })?;
    tokio::select! {
        found = receive => found.unwrap_or_else(|_| Err(Error::new(Kind::Auth, "looking for credentials failed"))),
        stop = cancel.cancelled() => Err(stop),
    }
}

fn usual_places() -> Vec<LoginPlace> {
    places(|name| std::env::var_os(name), std::env::home_dir())
}

/// Reads the file that the user named, and searches the other places when it has no login, as Podman and skopeo do.
/// Errors when the file cannot be used.
fn search_named_first(
    named: &LoginPlace,
    others: &[LoginPlace],
    reference: &Reference,
) -> Result<Credential> {
    let found = read_place(named, reference)?;
    if found.login.is_some() {
        return Ok(found);
    }
    let other = search(others, reference);
    Ok(match other.login {
        Some(_) => other,
        None => Credential { origin: format!("{}; {}", found.origin, other.origin), ..other },
    })
}

/// Searches one place after the other. Files that the user did not name may be missing or broken: then the request is
/// made without a login, and the reason is part of the error if the registry refuses.
fn search(places: &[LoginPlace], reference: &Reference) -> Credential {
    let (mut reasons, mut absent, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
    for place in places {
        if !place.exists() {
            absent.push(place.shown());
            continue;
        }
        match read_place(place, reference) {
            Ok(found) => {
                troubles.extend(found.troubles);
                if found.login.is_some() {
                    return Credential { troubles, ..found };
                }
                reasons.push(found.origin);
            }
            Err(error) => {
                reasons.push(error.to_string());
                troubles.push(error);
            }
        }
    }
    let absent = absent.join(", ");
    let origin = match (reasons.is_empty(), absent.is_empty()) {
        (true, true) => "no credentials are configured".to_owned(),
        (true, false) => format!("no credentials are configured (searched: {absent})"),
        (false, true) => reasons.join("; "),
        (false, false) => format!("{} (not found: {absent})", reasons.join("; ")),
    };
    Credential { troubles, ..Credential::none(origin) }
}

/// Reads one place. Errors when it cannot be read, or when it has no login because its first entry or helper for the
/// registry is broken.
fn read_place(place: &LoginPlace, reference: &Reference) -> Result<Credential> {
    let (bytes, format) = match place {
        LoginPlace::File { path, format } => {
            let read = |cause: &std::io::Error| {
                Error::io(Kind::Auth, "read credentials from", shown(path), cause)
            };
            (regular::read(path, LARGEST_FILE).map_err(|cause| read(&cause))?, *format)
        }
        LoginPlace::Variable { value, .. } => (value.clone().into_bytes(), AuthFileFormat::Docker),
    };
    let name = place.shown();
    let unusable = |why: &str| unusable(&name, why);
    let file = AuthFile::parse(&bytes, format).ok_or_else(|| unusable("the file is not JSON"))?;
    let mut troubles = Vec::new();
    for step in file.steps(reference) {
        let (found, origin) = match &step {
            LoginStep::Entry { key, entry } => {
                let found = auth_file::read_entry(entry).map_err(|_| {
                    unusable(&format!("the entry for {} is malformed", printable(key)))
                        .hint("log in again to replace it")
                });
                (found, format!("'{name}'"))
            }
            LoginStep::Helper { name: helper, key } => {
                let program = printable(&helper::program(helper));
                let found = helper::ask(helper, key)
                    .map_err(|trouble| explain(&trouble, &program, &printable(key), &name));
                (found, format!("{program} (configured in '{name}')"))
            }
        };
        match found {
            Ok(Some(login)) => {
                return Ok(Credential { troubles, ..Credential::new(login, origin) });
            }
            Ok(None) => {}
            Err(error) => troubles.push(error),
        }
    }
    match troubles.into_iter().next() {
        Some(error) => Err(error),
        None => {
            let key = auth_file::usual_key(reference);
            Ok(Credential::none(format!("'{name}' has no credentials for {key}")))
        }
    }
}

/// Returns the error for the place `name`, which cannot be used.
fn unusable(name: &str, why: &str) -> Error {
    Error::new(Kind::Auth, format!("credentials in '{name}': {why}"))
}

fn explain(trouble: &Trouble, program: &str, key: &str, name: &str) -> Error {
    let unusable = |why: &str| unusable(name, why);
    match trouble {
        Trouble::Failed => {
            unusable(&format!("{program} failed")).hint(format!("try: echo {key} | {program} get"))
        }
        Trouble::NoProgram => {
            unusable(&format!("the credential helper {program} for {key} cannot be run"))
                .hint(format!("install {program}, or remove it from '{name}'"))
        }
        Trouble::Malformed => {
            unusable(&format!("the credential helper {program} for {key} gave no valid answer"))
        }
    }
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
