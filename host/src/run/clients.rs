//! The registry clients of one run, from the command line and what each URI says of its own.
//!
//! A source and a destination at one host are one visitor there: they keep to one pace, and where
//! they log in alike, they share connections and tokens.

use std::sync::OnceLock;

use crate::cli::Global;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::secret::Secret;
use occystrap_net::http::Settings;
use occystrap_net::registry::Client;
use occystrap_net::uri::Uri;
use occystrap_output::plugin::description::parse_boolean;

/// Makes them as they are asked for.
pub struct Clients<'a> {
    global: &'a Global,
    cancel: &'a Cancel,
    /// The one that all others are made from.
    first: OnceLock<Client>,
}

impl<'a> Clients<'a> {
    /// None was asked for yet.
    #[must_use]
    pub fn new(global: &'a Global, cancel: &'a Cancel) -> Self {
        Self { global, cancel, first: OnceLock::new() }
    }

    /// The client for a URI. Errors when what it says contradicts itself, or the CA bundle or the
    /// file with logins cannot be used.
    pub fn of(&self, uri: &Uri) -> Result<Client> {
        let settings = settings(self.global, uri)?;
        if let Some(first) = self.first.get() {
            return first.with_settings(&settings);
        }
        let client = Client::new(&settings, self.cancel.clone())?;
        Ok(self.first.get_or_init(|| client).clone())
    }
}

fn settings(global: &Global, uri: &Uri) -> Result<Settings> {
    if let Some(file) = global.authfile.as_ref().filter(|file| !file.is_file()) {
        // A user who names a file does not want to go on without its login.
        let (is_there, file) = (file.exists(), file.display());
        let why = if is_there { "is not a regular file" } else { "is not there" };
        return Err(Error::usage(format!("the file '{file}' of --authfile {why}")));
    }
    let own = |name: &str| uri.option(name).map(str::to_owned);
    let insecure = match uri.option("insecure") {
        None => global.insecure,
        Some(value) => parse_boolean(value).ok_or_else(|| {
            Error::usage(format!("option 'insecure': expected true or false, found '{value}'"))
        })?,
    };
    let login =
        (uri.credentials.clone()).or_else(|| own("username").zip(own("password").map(Secret::new)));
    let (username, password, login_origin) = match login {
        Some((username, password)) => (Some(username), Some(password), "the URI"),
        None => (global.username.clone(), global.password.clone(), origin(global)),
    };
    Ok(Settings { username, password, login_origin, insecure, ..of_run(global) })
}

/// What the command line says, where no URI has a say.
#[must_use]
pub fn of_run(global: &Global) -> Settings {
    Settings {
        username: global.username.clone(),
        password: global.password.clone(),
        login_origin: origin(global),
        authfile: global.authfile.clone(),
        insecure: global.insecure,
        ca_bundle: global.ca_bundle.clone(),
        retries: global.retries,
        rate_limit: global.rate_limit,
        ..Settings::default()
    }
}

/// Which of the two ways a login was given in: what the environment says may also have been typed,
/// and then it is the same.
fn origin(global: &Global) -> &'static str {
    let from = |name: &str, value: Option<&str>| {
        value.is_some_and(|value| std::env::var(name).is_ok_and(|said| said == value))
    };
    let user = from("OCCYSTRAP_USERNAME", global.username.as_deref());
    let password = global.password.as_ref().map(Secret::expose);
    match (user, from("OCCYSTRAP_PASSWORD", password)) {
        (true, true) => "OCCYSTRAP_USERNAME and OCCYSTRAP_PASSWORD",
        (false, true) => "--username and OCCYSTRAP_PASSWORD",
        (true, false) => "OCCYSTRAP_USERNAME and --password",
        (false, false) => "--username and --password",
    }
}
