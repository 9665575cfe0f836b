//! The login of a user at a registry: from the command line, or from where `docker login`, `podman login`
//! and credential helpers keep it.
//!
//! Nothing is looked up before a registry asks, or answers as if it hid something. What it refuses: to show
//! a secret, or anything that a helper printed.

use tokio::sync::oneshot;

use super::auth_file::{self, AuthFile, Form, Step};
use super::auth_places::{Place, places, shown};
use super::helper::{self, Trouble};
use super::reference::Reference;
use crate::http::settings::Settings;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result, io_reason, printable};
use occystrap_base::files::regular;
use occystrap_base::secret::Secret as Hidden;

/// Largest file with credentials that is read: real ones have some kilobytes.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// What a user can prove to be.
#[derive(Clone)]
pub(super) enum Secret {
    Password {
        username: String,
        password: Hidden,
    },
    /// A refresh token of an OAuth2 token service.
    IdentityToken(Hidden),
    /// A token that the registry itself takes.
    RegistryToken(Hidden),
}

/// The outcome of looking.
pub(super) struct Credential {
    pub(super) secret: Option<Secret>,
    /// Where the secret is from, or why there is none, for an error's sake.
    pub(super) origin: String,
    /// Files and helpers that could not be used.
    pub(super) troubles: Vec<Error>,
}

impl Credential {
    fn new(secret: Secret, origin: impl Into<String>) -> Self {
        Self { secret: Some(secret), origin: origin.into(), troubles: Vec::new() }
    }

    fn none(origin: impl Into<String>) -> Self {
        Self { secret: None, origin: origin.into(), troubles: Vec::new() }
    }
}

/// Looks for the credential of a repository. Helpers run in a thread of their own: they may ask the
/// user, or hang. Errors when the file that the user named cannot be used, or on a cancelled run.
pub(super) async fn find(
    settings: &Settings,
    reference: &Reference,
    cancel: &Cancel,
) -> Result<Credential> {
    if let (Some(username), Some(password)) = (&settings.username, &settings.password) {
        let origin = settings.login_origin;
        return Ok(match auth_file::password(username, password.expose()) {
            Some(secret) => Credential::new(secret, origin),
            None => Credential::none(format!("the login of {origin} is empty")),
        });
    }
    let authfile = settings.authfile.clone();
    let reference = reference.clone();
    let (send, receive) = oneshot::channel();
    let looking = move || {
        // The run may have been cancelled, and then the answer is not received.
        let _ = send.send(match authfile {
            Some(file) => look_first_into(&Place::file(file), &usual_places(), &reference),
            None => Ok(look_around(&usual_places(), &reference)),
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

fn usual_places() -> Vec<Place> {
    places(|name| std::env::var_os(name), std::env::home_dir())
}

/// Looks into the file that the user named, and into the others where that has no login, as Podman and skopeo
/// do. Errors when the file cannot be used.
fn look_first_into(named: &Place, others: &[Place], reference: &Reference) -> Result<Credential> {
    let found = look_into(named, reference)?;
    if found.secret.is_some() {
        return Ok(found);
    }
    let other = look_around(others, reference);
    Ok(match other.secret {
        Some(_) => other,
        None => Credential { origin: format!("{}; {}", found.origin, other.origin), ..other },
    })
}

/// Looks into one place after the other. Files that the user did not name may be missing or broken: the
/// registry is asked without a login then, and the reason is part of the error when it refuses.
fn look_around(places: &[Place], reference: &Reference) -> Credential {
    let (mut reasons, mut absent, mut troubles) = (Vec::new(), Vec::new(), Vec::new());
    for place in places {
        if !place.exists() {
            absent.push(place.shown());
            continue;
        }
        match look_into(place, reference) {
            Ok(found) => {
                troubles.extend(found.troubles);
                if found.secret.is_some() {
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
        (false, false) => format!("{} (not there: {absent})", reasons.join("; ")),
    };
    Credential { troubles, ..Credential::none(origin) }
}

/// Looks into one place. Errors when it cannot be read; or when it has no login, and the first entry or helper
/// that should have one is broken.
fn look_into(place: &Place, reference: &Reference) -> Result<Credential> {
    let (bytes, form) = match place {
        Place::File { path, form } => {
            let read = |cause: &std::io::Error| {
                Error::io(Kind::Auth, "read credentials from", shown(path), cause)
            };
            (regular::read(path, LARGEST_FILE).map_err(|cause| read(&cause))?, *form)
        }
        Place::Variable { value, .. } => (value.clone().into_bytes(), Form::Docker),
    };
    let name = place.shown();
    let unusable = |why: &str| unusable(&name, why);
    let file = AuthFile::parse(&bytes, form).ok_or_else(|| unusable("the file is not JSON"))?;
    let mut troubles = Vec::new();
    for step in file.steps(reference) {
        let (found, origin) = match &step {
            Step::Entry { key, entry } => {
                let found = auth_file::login(entry).map_err(|_| {
                    unusable(&format!("the entry for {} is malformed", printable(key)))
                        .hint("log in again to write it anew")
                });
                (found, format!("'{name}'"))
            }
            Step::Helper { name: helper, key } => {
                let program = printable(&helper::program(helper));
                let found = helper::ask(helper, key)
                    .map_err(|trouble| explain(&trouble, &program, &printable(key), &name));
                (found, format!("{program} (which '{name}' names)"))
            }
        };
        match found {
            Ok(Some(secret)) => {
                return Ok(Credential { troubles, ..Credential::new(secret, origin) });
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

/// The error for a place `name` that cannot be used.
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
                .hint(format!("install {program}, or take it out of '{name}'"))
        }
        Trouble::Malformed => {
            unusable(&format!("the credential helper {program} for {key} gave no valid answer"))
        }
    }
}

#[cfg(test)]
#[path = "credential_tests.rs"]
mod tests;
