//! Registry clients of one run: the settings of the session, and what each URI says itself.
//!
//! If source and destination are on one host, that host sees one client: both keep to one request rate, and if they
//! use the same login, they share connections and tokens.

use std::sync::OnceLock;

use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::secret::Secret;
use occystrap_net::http::Settings;
use occystrap_net::registry::RegistryClient;
use occystrap_net::uri::Uri;
use occystrap_output::plugin::description::parse_boolean;

/// Registry clients, made when they are needed.
pub struct Clients {
    settings: Settings,
    cancel: Cancel,
    /// The client that all others are made from.
    first: OnceLock<RegistryClient>,
}

impl Clients {
    /// Starts without a client.
    #[must_use]
    pub fn new(settings: &Settings, cancel: &Cancel) -> Self {
        Self { settings: settings.clone(), cancel: cancel.clone(), first: OnceLock::new() }
    }

    /// Returns the client for a URI. Errors when the options of the URI contradict each other, or the CA bundle or the
    /// file with logins cannot be used.
    pub fn of(&self, uri: &Uri) -> Result<RegistryClient> {
        let settings = settings(&self.settings, uri)?;
        if let Some(first) = self.first.get() {
            return first.with_settings(&settings);
        }
        let client = RegistryClient::new(&settings, self.cancel.clone())?;
        Ok(self.first.get_or_init(|| client).clone())
    }
}

/// Returns the settings of the session with those of a URI, which take precedence.
fn settings(session: &Settings, uri: &Uri) -> Result<Settings> {
    if let Some(file) = session.authfile.as_ref().filter(|file| !file.is_file()) {
        // A user who names a file does not want to go on without its login.
        let (exists, file) = (file.exists(), file.display());
        let why = if exists { "is not a regular file" } else { "does not exist" };
        return Err(Error::usage(format!("the file '{file}' of --authfile {why}")));
    }
    let own = |name: &str| uri.option(name).map(str::to_owned);
    let insecure = match uri.option("insecure") {
        None => session.insecure,
        Some(value) => parse_boolean(value).ok_or_else(|| {
            Error::usage(format!("option 'insecure': expected true or false, found '{value}'"))
        })?,
    };
    let mut settings = Settings { insecure, ..session.clone() };
    let login =
        (uri.credentials.clone()).or_else(|| own("username").zip(own("password").map(Secret::new)));
    if let Some((username, password)) = login {
        (settings.username, settings.password) = (Some(username), Some(password));
        settings.login_origin = "the URI";
    }
    Ok(settings)
}
