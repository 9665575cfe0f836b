//! `log`: lines for the user, which are masked, cleaned, cut and counted. A warning that the plugin logs while
//! it finalizes is shown after the commit.

use crate::plugin::bindings::log::{Host, Level};
use crate::plugin::state::GuestState;
use occystrap_base::error::printable;
use occystrap_base::limits;
use occystrap_base::secret::mask;

impl Host for GuestState {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        let held = level == Level::Warn && self.is_finalizing;
        self.write_line(level, &message, held)
    }
}

impl GuestState {
    /// Logs a line of the plugin, or of its language's runtime.
    pub(super) fn say(&mut self, level: Level, message: &str) -> wasmtime::Result<()> {
        self.write_line(level, message, false)
    }

    fn write_line(&mut self, level: Level, message: &str, held: bool) -> wasmtime::Result<()> {
        self.logged += 1;
        if self.logged > limits::LOG_LINES {
            return Err(self.violation(format!("it logged more than {} lines", limits::LOG_LINES)));
        }
        if !self.allowance.shows_log {
            return Ok(());
        }
        // Masked before it is cut: the plugin may know a login from its options, and a part of it is not
        // recognised.
        let message = mask(message);
        let cut = message.floor_char_boundary(limits::LOG_LINE);
        let message = printable(&message[..cut]);
        let plugin = &*self.plugin;
        match level {
            Level::Warn if held => self.warnings.hold(plugin, message),
            Level::Error => tracing::error!(plugin, "{message}"),
            Level::Warn if !self.warnings.keep(&message) => {}
            Level::Warn => tracing::warn!(plugin, "{message}"),
            Level::Info => tracing::info!(plugin, "{message}"),
            Level::Debug => tracing::debug!(plugin, "{message}"),
        }
        Ok(())
    }
}
