//! Failures of host calls: the guest gets a code, the user gets the reason.

use crate::plugin::bindings::types::ErrorCode;
use crate::plugin::state::GuestState;
use crate::plugin::violation::violation;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::secret::mask;

impl GuestState {
    /// Keeps the error for the user, and returns the code for the guest.
    pub(super) fn or_fail<T>(&mut self, result: Result<T>) -> Result<T, ErrorCode> {
        result.map_err(|error| self.failed(error))
    }

    pub(super) fn failed(&mut self, error: Error) -> ErrorCode {
        let code = match error.kind() {
            Kind::Source | Kind::Network | Kind::Auth | Kind::NotFound => ErrorCode::SourceFailed,
            Kind::Plugin => ErrorCode::InvalidState,
            _ => ErrorCode::Other(None),
        };
        self.fail(match error.kind() {
            Kind::Plugin => violation(&self.plugin, error),
            _ => error,
        });
        code
    }

    /// Notes that a call carried too many bytes, and returns the code for the guest.
    pub(super) fn too_much(&mut self, limit: usize) -> ErrorCode {
        let rule = format!("it wrote more than {limit} bytes in one call");
        self.noted = Some(violation(&self.plugin, rule));
        ErrorCode::QuotaExceeded
    }

    /// Keeps the error for the user, and returns the code for the guest.
    pub(super) fn unavailable(&mut self, error: Error) -> ErrorCode {
        let code = match error.kind() {
            Kind::NotFound => ErrorCode::NotFound,
            Kind::Source if error.difference().is_none() => ErrorCode::SourceFailed,
            _ => ErrorCode::Unavailable,
        };
        self.fail(error);
        code
    }

    pub(super) fn not_sent(&mut self, error: Error) -> ErrorCode {
        let code = match error.kind() {
            Kind::Source | Kind::NotFound => ErrorCode::SourceFailed,
            _ => ErrorCode::Unavailable,
        };
        self.fail(error);
        code
    }
}

/// Returns a text of the plugin for a message: masked, and cut to 128 characters.
pub(super) fn short(text: &str) -> String {
    const LONGEST: usize = 128;
    // Masked before it is cut: a part of a secret is not recognised.
    let text = mask(text);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into_owned(),
    }
}
