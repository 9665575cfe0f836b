//! Prints `docs/command-reference.md`: `cargo run --example command_reference > docs/command-reference.md`.

use std::io;

fn main() -> io::Result<()> {
    occystrap::cli::reference::write(occystrap::cli::command(), &mut io::stdout())
}
