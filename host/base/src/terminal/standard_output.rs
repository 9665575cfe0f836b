//! Standard output and standard error of the binary, where another program may stop to read:
//! `occystrap plugin show dir | head -1`, `occystrap process ... 2>&1 | head -1`.
//!
//! What it refuses: to report a closed pipe as an error. Nothing went wrong: the reader has what it wanted.

use std::io::{self, ErrorKind, Write};

/// The exit code of a command whose output nothing reads any more: that of a process which SIGPIPE ended
/// (128 + 13), as shells report it of other tools. The command did not end, so that no verdict can be said.
pub const CLOSED: u8 = 141;

/// A standard stream, which remembers whether its reader is gone. Not locked: filters print as well, from other
/// threads.
pub struct StandardOutput<W> {
    stream: W,
    is_closed: bool,
}

impl<W> StandardOutput<W> {
    /// `io::stdout()` or `io::stderr()`.
    pub fn of(stream: W) -> Self {
        Self { stream, is_closed: false }
    }

    /// Whether a write failed because the reader is gone.
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
        let outcome = self.stream.write(bytes);
        self.noting(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.stream.flush();
        self.noting(outcome)
    }
}
