//! Turns of images that are moved at the same time and share layers without an entry: one image makes them, the
//! others wait for the result.

use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::key::LayerKey;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::Result;

/// Time between two checks of a waiting image for an interruption.
const PATIENCE: Duration = Duration::from_millis(100);

/// The layers that are being made.
#[derive(Default)]
pub struct Turns {
    making: Mutex<BTreeSet<LayerKey>>,
    ended: Condvar,
}

/// The layers that one image makes, until this is dropped.
pub struct Turn<'a> {
    turns: &'a Turns,
    keys: Vec<LayerKey>,
}

impl Turns {
    /// Waits until no other image makes any of the layers that `wanted` returns, and reserves them. An image
    /// reserves all of its layers or none, so that two images never wait for each other. Errors when the user
    /// interrupts.
    pub fn take(&self, wanted: impl Fn() -> Vec<LayerKey>, cancel: &Cancel) -> Result<Turn<'_>> {
        let mut making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            cancel.check()?;
            let keys = wanted();
            if !keys.iter().any(|key| making.contains(key)) {
                making.extend(keys.iter().cloned());
                return Ok(Turn { turns: self, keys });
            }
            let waited = self.ended.wait_timeout(making, PATIENCE);
            making = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut making = self.turns.making.lock().unwrap_or_else(PoisonError::into_inner);
        for key in &self.keys {
            making.remove(key);
        }
        self.turns.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use occystrap_base::oci::Digest;

    fn key(number: u8) -> LayerKey {
        let (layer, text) = (Digest::of(&[number]), String::new);
        LayerKey { layer, filters: Vec::new(), compression: text(), output: text() }
    }

    #[test]
    fn one_makes_it_and_the_others_wait() {
        let (turns, cancel) = (Turns::default(), Cancel::default());
        let (making, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for own in 1..9 {
                let (turns, cancel, making, made) = (&turns, &cancel, &making, &made);
                scope.spawn(move || {
                    let wanted = || match made.load(Ordering::SeqCst) {
                        0 => vec![key(own), key(0)],
                        _ => vec![key(own)],
                    };
                    let turn = turns.take(wanted, cancel).unwrap();
                    if turn.keys.contains(&key(0)) {
                        assert_eq!(making.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::sleep(Duration::from_millis(20));
                        made.store(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(making.load(Ordering::SeqCst), 1);
        assert!(turns.making.lock().unwrap().is_empty());
    }

    #[test]
    fn a_waiting_turn_ends_at_an_interruption() {
        let (turns, cancel) = (Turns::default(), Cancel::default());
        let turn = turns.take(|| vec![key(0)], &cancel).unwrap();
        cancel.cancel();
        assert!(turns.take(|| vec![key(0)], &cancel).is_err());
        drop(turn);
    }
}
