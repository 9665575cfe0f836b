//! What the command line says of places on the web.

use crate::cli::Global;
use crate::run::clients;
use occystrap_base::error::Result;
use occystrap_net::web::netrc::Netrc;
use occystrap_net::web::{Access, Allow, Logins};

/// Whose plugins and receipts are at work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// The user's own.
    Own,
    /// Nobody's.
    None,
}

/// The places that were named, and the logins for them: those that the user keeps at home are for what
/// is the user's own.
pub fn access(names: &[String], global: &Global, trust: Trust) -> Result<Access> {
    let mut allow = Allow::default();
    for name in names {
        allow.name(name)?;
    }
    let usual = || Netrc::usual(|name| std::env::var_os(name)).map(Logins::Usual);
    let logins = match &global.netrc_file {
        Some(file) => Logins::Named(file.clone()),
        None if trust == Trust::Own => usual().unwrap_or_default(),
        None => Logins::None,
    };
    Ok(Access::new(allow, logins, &clients::of_run(global)))
}
