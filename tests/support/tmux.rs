//! A terminal that a test types into and looks at: a session of tmux with a server of its own.
//!
//!     let Some(terminal) = Tmux::start("what is tested", &sandbox, (80, 24), "ls; exec cat") else { return };
//!
//! Where it is not installed the test says `skipped: NAME: reason`; in CI that is a failure.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::cli::Sandbox;
use super::real::installed;

/// How long a test waits for something to appear.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Tmux {
    socket: PathBuf,
}

impl Tmux {
    /// Starts `script` (of sh) in a terminal of so many columns and lines.
    pub fn start(test: &str, sandbox: &Sandbox, size: (u16, u16), script: &str) -> Option<Self> {
        if !installed(test, &["tmux"]) {
            return None;
        }
        let terminal = Self { socket: sandbox.path("tmux") };
        let (columns, lines) = (size.0.to_string(), size.1.to_string());
        let mut command = terminal.command();
        command
            .args(["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &lines])
            .arg(script)
            .current_dir(sandbox.path(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C.UTF-8")
            .env("SHELL", "/bin/sh")
            .env("HOME", sandbox.path("home"))
            .env("TMPDIR", sandbox.path("tmp"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(terminal)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("tmux");
        command.arg("-u").arg("-S").arg(&self.socket).stdin(Stdio::null());
        command
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = self.command().args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Presses keys by their names: `Enter`, `Tab`, `C-c`, `x`.
    pub fn press(&self, keys: &[&str]) {
        self.ask(&[&["send-keys"], keys].concat());
    }

    /// Types text.
    pub fn write(&self, text: &str) {
        self.ask(&["send-keys", "-l", text]);
    }

    pub fn resize(&self, columns: u16, lines: u16) {
        self.ask(&["resize-window", "-x", &columns.to_string(), "-y", &lines.to_string()]);
    }

    /// The text on the screen.
    pub fn screen(&self) -> String {
        self.ask(&["capture-pane", "-p"])
    }

    /// The text on the screen, when it is what the test waits for.
    #[track_caller]
    pub fn until(&self, what: &str, is_there: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let screen = self.screen();
            if is_there(&screen) {
                return screen;
            }
            assert!(Instant::now() < end, "no '{what}' on:\n{screen}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    #[track_caller]
    pub fn shows(&self, text: &str) -> String {
        self.until(text, |screen| screen.contains(text))
    }

    /// Whether the second screen is on, and whether the cursor is shown.
    pub fn modes(&self) -> (bool, bool) {
        let modes = self.ask(&["display-message", "-p", "#{alternate_on} #{cursor_flag}"]);
        let mut modes = modes.split_whitespace().map(|flag| flag == "1");
        (modes.next().unwrap(), modes.next().unwrap())
    }

    /// The process that the script has started and waits for.
    pub fn child(&self) -> i32 {
        let shell = self.ask(&["display-message", "-p", "#{pane_pid}"]);
        let shell = shell.trim();
        let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        children.unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = self.command().arg("kill-server").output();
    }
}
