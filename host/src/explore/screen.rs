//! The terminal while it is drawn on: keys arrive one by one, and what was on it before comes back.
//!
//! [`give_back`] may be called at any time and from any thread; the panic hook and the second signal use it.

use std::io::{self, Stdout};
use std::mem::ManuallyDrop;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use occystrap_base::error::{Error, Kind, Result};
use occystrap_net::context::Context;

/// Time between two looks at the signals of the process.
const TICK: Duration = Duration::from_millis(100);

/// Whether the terminal is taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken. Dropping it gives it back.
///
/// ratatui's own drop is not run: it prints to standard error where the terminal is gone, and a closed standard error
/// would end the process with a panic.
pub struct Screen(ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>);

impl Screen {
    /// Takes the terminal. A panic gives it back before its message is printed.
    pub fn take() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                give_back();
                before(panic);
            }));
        });
        TAKEN.store(true, Ordering::SeqCst);
        let made = enable_raw_mode()
            .and_then(|()| execute!(io::stdout(), EnterAlternateScreen))
            .and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match made {
            Ok(terminal) => Ok(Self(ManuallyDrop::new(terminal))),
            Err(cause) => {
                give_back();
                Err(cause)
            }
        }
    }

    /// Draws.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(draw).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if it is taken.
pub fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
    }
}

/// Waits for an event of the terminal. Returns `None` after a while. Errors when a signal has ended the process's work, and
/// when the terminal was closed.
///
/// crossterm is asked only for what is there: it reads a closed terminal again and again, and never returns.
pub fn next_event(context: &Context) -> Result<Option<Event>> {
    context.cancel.check()?;
    wait(Duration::ZERO)?;
    match event::poll(Duration::ZERO) {
        Ok(false) => wait(TICK).map(|()| None),
        Ok(true) => event::read().map(Some).map_err(|cause| failed(&cause)),
        // A signal arrived; the next look sees it.
        Err(cause) if cause.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(cause) => Err(failed(&cause)),
    }
}

/// Waits until there is input, a signal has arrived or the time is over. Errors when the terminal was closed.
fn wait(most: Duration) -> Result<()> {
    let stdin = io::stdin();
    let mut terminal = [PollFd::new(&stdin, PollFlags::IN)];
    let most = Timespec::try_from(most).unwrap_or_default();
    match poll(&mut terminal, Some(&most)) {
        Ok(_) if terminal[0].revents().intersects(PollFlags::HUP | PollFlags::ERR) => {
            Err(Error::new(Kind::Interrupted, "the terminal was closed"))
        }
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(cause) => Err(failed(&cause.into())),
    }
}

/// Returns the error for a terminal that fails.
pub fn failed(cause: &io::Error) -> Error {
    Error::io(Kind::Destination, "use", "the terminal", cause)
}
