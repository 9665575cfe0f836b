//! Turns: of requests for the same thing, one at a time goes to a server, and the others find what it brought.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// Turns by the name of what is wanted.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<String, Arc<AsyncMutex<()>>>>);

/// Names of which no turn is taken are dropped when there are more than this.
const MOST_IDLE: usize = 1_000;

impl Turns {
    /// Waits for the turn. It ends when the result is dropped.
    pub async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if turns.len() > MOST_IDLE {
                turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            }
            Arc::clone(turns.entry(name.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}
