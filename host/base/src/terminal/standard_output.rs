//! Standard output and standard error of the program, where the reader may stop early: `occystrap plugin show dir |
//! head -1`, `occystrap process ... 2>&1 | head -1`.
//!
//! What it refuses: to report a closed pipe as an error. Nothing failed: the reader has all that it wanted.

use std::io::{self, ErrorKind, Write};

use super::pending_writes;

/// Exit code of a command whose output is no longer read: that of a process which SIGPIPE ended (128 + 13), as shells
/// report it of other tools. The command did not end, so that there is no verdict.
pub const CLOSED: u8 = 141;

/// Standard stream, or a FIFO, that remembers whether its reader is gone. It is not locked: filters print as well, from
/// other threads. Its writes are among [`pending_writes`].
pub struct StandardOutput<W> {
    stream: W,
    is_closed: bool,
}

impl<W> StandardOutput<W> {
    /// Wraps `io::stdout()` or `io::stderr()`.
    pub fn of(stream: W) -> Self {
        Self { stream, is_closed: false }
    }

    /// Returns whether a write failed because the reader is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn noting<T>(&mut self, outcome: io::Result<T>) -> io::Result<T> {
        self.is_closed |=
            outcome.as_ref().is_err_and(|cause| cause.kind() == ErrorKind::BrokenPipe);
        outcome
    }
}

impl<W: Write> Write for StandardOutput<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = pending_writes::during(|| self.stream.write(bytes));
        self.noting(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = pending_writes::during(|| self.stream.flush());
        self.noting(outcome)
    }
}
