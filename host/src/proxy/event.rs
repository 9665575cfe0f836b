//! What happens while a proxy runs, for those who show it.

use occystrap_base::error::Error;
use occystrap_verify::report::Run;

/// What happens while a proxy runs.
pub enum ProxyEvent {
    /// An image was pushed, and moved or not.
    Moved {
        /// What became of it.
        run: Run,
        /// Why its receipt could not be written.
        receipt: Option<Error>,
    },
    /// Something went wrong that is no image's failure.
    Warning(String),
    /// The proxy accepts no more connections, and finishes what has begun.
    Stopping,
    /// The time for that is over: what has not ended is given up.
    GivenUp,
}
