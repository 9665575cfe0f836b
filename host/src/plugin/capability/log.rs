//! `log`: lines for the user, cleaned, cut and counted.

use crate::error::printable;
use crate::limits;
use crate::plugin::bindings::log::{Host, Level};
use crate::plugin::state::State;

impl Host for State {
    fn log(&mut self, level: Level, message: String) -> wasmtime::Result<()> {
        self.say(level, &message)
    }
}

impl State {
    /// A line of the plugin, or of its language's runtime.
    pub(super) fn say(&mut self, level: Level, message: &str) -> wasmtime::Result<()> {
        self.logged += 1;
        if self.logged > limits::LOG_LINES {
            return Err(self.violation(format!("it logged more than {} lines", limits::LOG_LINES)));
        }
        if !self.allowance.shows_log {
            return Ok(());
        }
        let cut = message.floor_char_boundary(limits::LOG_LINE);
        let message = printable(&message[..cut]);
        let plugin = &*self.plugin;
        match level {
            Level::Error => tracing::error!(plugin, "{message}"),
            Level::Warn => tracing::warn!(plugin, "{message}"),
            Level::Info => tracing::info!(plugin, "{message}"),
            Level::Debug => tracing::debug!(plugin, "{message}"),
        }
        Ok(())
    }
}
