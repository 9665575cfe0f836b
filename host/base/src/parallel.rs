//! Work on several items at the same time, on threads that end with the function.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Returns how many computations can run at the same time.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Works on all items, `workers` at a time, in their order. Returns the results in the same order.
pub fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T) -> R + Sync,
) -> Vec<R> {
    if items.len() < 2 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..workers.clamp(1, items.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { break };
                    let result = work(item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

/// Does the work of each object in their order, `at_once` of them at a time. `next` returns `None` after the last one. Ends
/// with the first error, after the objects in work.
pub fn each_next<T: Send>(
    next: impl FnMut() -> Result<Option<T>> + Send,
    at_once: usize,
    work: impl Fn(T) -> Result<()> + Sync,
) -> Result<()> {
    // The second value says that there is no more.
    let next = Mutex::new((next, false));
    let lock = || next.lock().unwrap_or_else(PoisonError::into_inner);
    let worker = || loop {
        let object = {
            let mut next = lock();
            if next.1 {
                return Ok(());
            }
            let object = (next.0)();
            next.1 = !matches!(object, Ok(Some(_)));
            object?
        };
        let Some(object) = object else { return Ok(()) };
        if let Err(error) = work(object) {
            lock().1 = true;
            return Err(error);
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once.max(1)).map(|_| scope.spawn(worker)).collect();
        // All of them have ended before the outcome of one counts.
        let ended: Vec<Result<()>> = workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|_| Err(Error::interrupted())))
            .collect();
        ended.into_iter().collect()
    })
}

/// Items for each worker that may be started before the oldest one is done. Their results wait in memory.
const AHEAD: usize = 4;

/// Works on all items, `workers` at a time, in their order. Each item has any number of results. `each` gets them on
/// this thread, in the order of the items, as soon as they are next. Few results are held in memory (`AHEAD`).
pub fn in_order<T: Sync, R: Send>(
    items: &[T],
    workers: usize,
    work: impl Fn(&T, &mut dyn FnMut(R)) + Sync,
    mut each: impl FnMut(R),
) {
    let workers = workers.clamp(1, items.len().max(1));
    if workers < 2 {
        return items.iter().for_each(|item| work(item, &mut each));
    }
    let queue = Queue { state: Mutex::default(), moved: Condvar::new(), ahead: workers * AHEAD };
    std::thread::scope(|scope| {
        let (results, arrived) = sync_channel(workers);
        for _ in 0..workers {
            let (results, queue, work) = (results.clone(), &queue, &work);
            scope.spawn(move || {
                while let Some(index) = queue.next(items.len()) {
                    // An item is done even when its work panics: other workers wait for it.
                    let done = Done { index, results: &results };
                    work(&items[index], &mut |result| _ = results.send((index, Some(result))));
                    drop(done);
                }
            });
        }
        drop(results);
        let (mut oldest, mut waiting) = (0, BTreeMap::<usize, (Vec<R>, bool)>::new());
        for (index, result) in arrived {
            let (results, is_done) = waiting.entry(index).or_default();
            match result {
                Some(result) if index == oldest => each(result),
                Some(result) => results.push(result),
                None => *is_done = true,
            }
            while let Some((results, is_done)) = waiting.get_mut(&oldest) {
                results.drain(..).for_each(&mut each);
                if !*is_done {
                    break;
                }
                waiting.remove(&oldest);
                oldest += 1;
                queue.advance(oldest);
            }
        }
    });
}

/// Queue of items, which holds workers back when they are too far ahead.
struct Queue {
    /// The next item to start, and the oldest one that is not done.
    state: Mutex<(usize, usize)>,
    moved: Condvar,
    /// How far the next item may be ahead of the oldest one.
    ahead: usize,
}

impl Queue {
    /// Waits until an item may be started. Returns `None` when all are.
    fn next(&self, all: usize) -> Option<usize> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let may_not =
            |(next, oldest): &mut (usize, usize)| *next < all && *next >= *oldest + self.ahead;
        let waited = self.moved.wait_while(state, may_not);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let index = state.0;
        state.0 += 1;
        (index < all).then_some(index)
    }

    fn advance(&self, oldest: usize) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).1 = oldest;
        self.moved.notify_all();
    }
}

/// Guard that marks an item as done when it is dropped.
struct Done<'a, R> {
    index: usize,
    results: &'a SyncSender<(usize, Option<R>)>,
}

impl<R> Drop for Done<'_, R> {
    fn drop(&mut self) {
        let _ = self.results.send((self.index, None));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..200).collect();
        for workers in [1, 2, 7] {
            let (mut found, begun) = (Vec::new(), AtomicUsize::new(0));
            let work = |item: &usize, each: &mut dyn FnMut((usize, usize, usize))| {
                let begun = begun.fetch_add(1, Ordering::SeqCst);
                // Some items are slow, and some have no results.
                std::thread::sleep(Duration::from_micros((item % 11) as u64 * 50));
                (0..item % 3).for_each(|part| each((*item, part, begun)));
            };
            in_order(&items, workers, work, |result| found.push(result));
            let expected = items.iter().flat_map(|item| (0..item % 3).map(|part| (*item, part)));
            let order: Vec<_> = found.iter().map(|(item, part, _)| (*item, *part)).collect();
            assert_eq!(order, expected.collect::<Vec<_>>(), "{workers} workers");
        }
    }

    #[test]
    fn nothing_is_begun_far_ahead_of_what_is_not_done() {
        let (items, workers) = ((0..100).collect::<Vec<usize>>(), 2);
        let (begun, first) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = |item: &usize, each: &mut dyn FnMut(usize)| {
            let so_far = begun.fetch_add(1, Ordering::SeqCst) + 1;
            if *item == 0 {
                std::thread::sleep(Duration::from_millis(100));
                first.store(begun.load(Ordering::SeqCst), Ordering::SeqCst);
            }
            each(so_far);
        };
        let mut count = 0;
        in_order(&items, workers, work, |_| count += 1);
        assert_eq!((count, first.into_inner()), (100, workers * AHEAD));
    }

    #[test]
    #[should_panic(expected = "a scoped thread panicked")]
    fn a_panic_ends_the_work() {
        let items: Vec<usize> = (0..100).collect();
        let work = |item: &usize, each: &mut dyn FnMut(usize)| {
            assert_ne!(*item, 3);
            each(*item);
        };
        in_order(&items, 2, work, |_| {});
    }

    #[test]
    fn an_error_ends_the_work_after_the_objects_in_work() {
        let (mut numbers, done) = (0..1_000_u64, AtomicU64::new(0));
        let work = |number| match number {
            5 => Err(Error::usage("five")),
            _ => {
                done.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
        };
        let outcome = each_next(|| Ok(numbers.next()), 3, work);
        assert_eq!(outcome.unwrap_err().to_string(), "five");
        assert!(done.into_inner() < 1_000);
    }
}
