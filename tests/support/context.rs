//! A context for tests that call the library.

use occystrap_net::context::Context;

/// Returns a context that shows nothing and fetches one layer at a time.
pub fn context(runtime: &tokio::runtime::Runtime) -> Context {
    Context::new(runtime.handle())
}
