//! A question that is answered at a terminal, and nowhere else.

use std::io::{self, IsTerminal, Write};

use super::{Host, printed};
use occystrap_base::error::Result;

/// Nobody types more than this for yes or no, in bytes.
const LONGEST: u64 = 64;

/// Whether somebody is there to be asked.
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Ask, with "no" for every answer but yes. Errors when Ctrl-C comes instead.
pub fn yes(question: &str, host: &Host<'_>, err: &mut dyn Write) -> Result<bool> {
    write!(err, "{question} [y/N] ").and_then(|()| err.flush()).map_err(printed)?;
    let (tell, told) = tokio::sync::oneshot::channel();
    // A thread that waits for a line cannot be stopped; this one ends with the process.
    std::thread::spawn(move || {
        let mut line = String::new();
        let mut stdin = io::Read::take(io::stdin().lock(), LONGEST);
        let read = io::BufRead::read_line(&mut stdin, &mut line);
        let _ = tell.send(read.map(|_| line).unwrap_or_default());
    });
    let answer = host.runtime.block_on(async {
        tokio::select! {
            line = told => Ok(line.unwrap_or_default()),
            stop = host.cancel.cancelled() => Err(stop),
        }
    });
    let answer = answer.inspect_err(|_| drop(writeln!(err)))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
