//! `occystrap verify`, of what the user trusts.

use std::io::Write;

use super::clients::Clients;
use super::web::{self, Trust};
use super::{Host, printed, report};
use crate::cli::Verify;
use crate::error::Result;
use crate::pipeline;
use crate::uri::Uri;
use crate::verify::{Level, Subject};

/// Verify what a receipt says, or what a destination says of itself.
pub fn run(
    asked: &Verify,
    host: &Host<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8> {
    let mut context = host.context()?;
    context.web = web::access(&asked.allow_net, host.global, Trust::Own)?;
    let clients = Clients::new(host.global, host.cancel);
    let client = |uri: &Uri| clients.of(uri);
    let subject = Subject::parse(&asked.target, &host.catalog()?, client, host.cancel)?;
    let level = if asked.fast { Level::Fast } else { Level::Full };
    let run = pipeline::verify_subject(&subject, level, &context);
    report(&run, host.global, out, err).map_err(printed)?;
    Ok(run.exit_code(true))
}
