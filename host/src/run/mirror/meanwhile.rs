//! Work in threads, and what it says meanwhile: the thread that has the outputs writes it.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::run::Host;
use occystrap_base::error::printable;
use occystrap_mirror::ledger::record::ItemError;

/// Does work in a thread, and calls `show` with all that the work sends until it has ended. What is shown stands above the
/// bars of progress. Work goes on where `show` fails: its outputs have no reader. Errors when the work panics.
pub fn showing<T: Send, R: Send>(
    host: &Host<'_>,
    work: impl FnOnce(Sender<T>) -> R + Send,
    mut show: impl FnMut(T) -> io::Result<()>,
) -> thread::Result<R> {
    let (say, said) = channel();
    thread::scope(|scope| {
        let worker = scope.spawn(|| work(say));
        for one in said {
            let _ = host.session.bars().above(|| show(one));
        }
        worker.join()
    })
}

/// Returns the lines about one thing: what it is, and below it why, and what the user can do.
pub fn lines(
    first: String,
    message: Option<impl Display>,
    hint: Option<impl Display>,
) -> Vec<String> {
    let message = message.map(|message| format!("  {message}"));
    let hint = hint.map(|hint| format!("  hint: {hint}"));
    [Some(first), message, hint].into_iter().flatten().collect()
}

/// Returns the lines about an image, with the error that is recorded of it.
pub fn lines_of_image(first: String, error: Option<&ItemError>) -> Vec<String> {
    let hint = error.and_then(|error| error.hint.as_ref());
    lines(first, error.map(|error| &error.message), hint)
}

/// Writes lines.
pub fn write_lines(lines: &[String], to: &mut dyn Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(to, "{}", printable(line)))
}
