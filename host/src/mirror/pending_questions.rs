//! Questions to servers that wait for their answers, so that the ledger is written meanwhile.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use occystrap_base::error::{Error, Result};
use occystrap_net::context::Context;

/// Items that are asked about at a time. An answer takes some 20 milliseconds from most registries: 64 are 3,200 items a
/// second, and 64 connections to each host.
pub const ASKED: usize = 64;

/// Time to collect more answers after the first: they are recorded together.
const LINGER: Duration = Duration::from_millis(2);

/// Questions that wait for their answers, each with what it is about.
pub struct PendingQuestions<'c, K, R> {
    context: &'c Context,
    turns: Arc<Semaphore>,
    tasks: JoinSet<(u64, R)>,
    about: HashMap<u64, K>,
    next: u64,
}

impl<'c, K, R: Send + 'static> PendingQuestions<'c, K, R> {
    /// Starts without questions. At most `most` are asked at a time; the others wait for their turn.
    pub fn new(context: &'c Context, most: usize) -> Self {
        let turns = Arc::new(Semaphore::new(most.max(1)));
        Self { context, turns, tasks: JoinSet::new(), about: HashMap::new(), next: 0 }
    }

    /// Returns the number of questions without an answer.
    pub fn len(&self) -> usize {
        self.about.len()
    }

    /// Asks a question.
    pub fn ask(&mut self, about: K, question: impl Future<Output = R> + Send + 'static) {
        let (number, turns) = (self.next, Arc::clone(&self.turns));
        self.next += 1;
        self.about.insert(number, about);
        let task = async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            (number, question.await)
        };
        self.tasks.spawn_on(task, &self.context.runtime);
    }

    /// Waits for an answer, and briefly for up to `enough`. Returns what has come; nothing where there is no question.
    /// Errors when the user interrupts.
    pub fn wait(&mut self, enough: usize) -> Result<Vec<(K, R)>> {
        let tasks = &mut self.tasks;
        let ended = self.context.runtime.block_on(async {
            let mut ended = Vec::new();
            ended.extend(tasks.join_next().await);
            let until = Instant::now() + LINGER;
            while ended.len() < enough
                && let Ok(Some(next)) = timeout_at(until, tasks.join_next()).await
            {
                ended.push(next);
            }
            while let Some(next) = tasks.try_join_next() {
                ended.push(next);
            }
            ended
        });
        self.context.cancel.check()?;
        let mut answers = Vec::with_capacity(ended.len());
        for one in ended {
            let (number, answer) = one.map_err(|_| Error::interrupted())?;
            answers.extend(self.about.remove(&number).map(|about| (about, answer)));
        }
        Ok(answers)
    }
}
