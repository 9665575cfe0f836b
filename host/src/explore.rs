//! `occystrap explore`: an image in the terminal, with its layers, the files that a container sees, and what each layer
//! changed.
//!
//! The image is read before the terminal is taken, so that errors and progress look as in every other command. The
//! terminal is given back when the view ends, whatever ends it: a key, a signal, an error or a panic (`screen.rs`). What
//! it refuses: to run without a terminal, to draw a control character of an image, and to replace a file.

mod content;
mod draw;
mod export;
mod findings;
mod keys;
pub mod screen;
mod state;

use std::io::{self, IsTerminal as _};

use ratatui::crossterm::event::{Event, KeyEventKind};

use self::keys::KeyAction;
use self::screen::{Screen, failed, next_event};
use self::state::State;
use occystrap_base::error::{Error, Result};
use occystrap_images::explore::Explored;
use occystrap_net::context::Context;

/// Errors when there is no terminal to draw on and to read keys from. `source` is the source as typed, for the hint.
pub fn check_terminal(source: &str) -> Result<()> {
    let missing = match (io::stdin().is_terminal(), io::stdout().is_terminal()) {
        (true, true) if std::env::var_os("TERM").is_some_and(|term| term == "dumb") => {
            "the terminal can only print lines (TERM=dumb)"
        }
        (true, true) => return Ok(()),
        (false, _) => "standard input is not a terminal",
        (true, false) => "standard output is not a terminal",
    };
    let source = occystrap_base::terminal::shell::quote(source);
    Err(Error::usage(format!("explore needs a terminal: {missing}"))
        .hint(format!("for text: occystrap info --tree {source}")))
}

/// Shows an image until the user ends it. Errors when the terminal fails, and when a signal ends the process.
pub fn show(image: &Explored, context: &Context) -> Result<()> {
    let mut screen = Screen::take().map_err(|cause| failed(&cause))?;
    let mut state = State::new(image);
    loop {
        screen.draw(|frame| draw::all(frame, &mut state)).map_err(|cause| failed(&cause))?;
        let Some(event) = next_event(context)? else { continue };
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                match keys::press(key, &mut state) {
                    KeyAction::Stay => {}
                    KeyAction::End => return Ok(()),
                    KeyAction::Interrupt => {
                        context.cancel.cancel();
                        return context.cancel.check();
                    }
                    KeyAction::Export(file) => {
                        let told = export::run(&file, &mut state, &mut screen, context)?;
                        state.tell(told);
                    }
                }
            }
            // Any other event may have changed the size of the terminal.
            _ => {}
        }
    }
}
