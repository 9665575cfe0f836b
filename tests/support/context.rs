//! What a caller of the library gives it, where nothing but the work itself is looked at.

use std::sync::Arc;

use occystrap_base::cancel::Cancel;
use occystrap_base::terminal::progress::Progress;
use occystrap_net::context::Context;

/// Nothing is shown, and one thing is done at a time.
pub fn context(runtime: &tokio::runtime::Runtime) -> Context {
    Context {
        runtime: runtime.handle().clone(),
        cancel: Cancel::default(),
        progress: Progress::hidden(),
        counters: Arc::default(),
        parallel: 1,
        temp_dir: std::env::temp_dir(),
        spool: std::env::temp_dir(),
        durable: false,
        web: Default::default(),
        warnings: Default::default(),
    }
}
