//! Output of a panic: its message may repeat any text.

use std::io::Write as _;

use super::mask;

/// Makes panics print one line without secrets on standard error, and no backtrace.
pub fn hide_in_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let line = line(&panic.to_string());
        let _ = writeln!(std::io::stderr(), "{line}");
    }));
}

fn line(panic: &str) -> String {
    mask(&format!("error: this is a defect of occystrap: {}", panic.replace('\n', " ")))
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_shows_no_secret() {
        super::super::keep("Panicked+Hunter2");
        let shown =
            line("panicked at x.rs:1:1:\nno entry for Panicked+Hunter2 or Panicked%2bHunter2");
        assert_eq!(
            shown,
            "error: this is a defect of occystrap: panicked at x.rs:1:1: no entry for *** or ***"
        );
    }
}
