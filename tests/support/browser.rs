//! Pages in a real browser: Debian's chromium without a window.
//!
//!     let Some(browser) = Browser::find("what is tested") else { return };
//!
//! Where it is not installed the test says `skipped: NAME: reason`; in CI that is a failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::real::installed;

/// The script that measures a page at several widths, in frames of these widths: a browser without a window has a
/// smallest width of its own. It finds what is wider than the page, labels that are cut, and text without contrast.
const MEASURE: &str = include_str!("measure.js");

/// The browser, with a profile of its own.
pub struct Browser {
    profile: tempfile::TempDir,
}

impl Browser {
    pub fn find(test: &str) -> Option<Self> {
        let profile = || tempfile::Builder::new().prefix("occystrap-test-browser-").tempdir();
        installed(test, &["chromium"]).then(|| Self { profile: profile().unwrap() })
    }

    fn command(&self, dark: bool) -> Command {
        let mut command = Command::new("chromium");
        let scheme = if dark { 0 } else { 1 };
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--hide-scrollbars", "--allow-file-access-from-files", "--no-first-run"])
            .arg(format!("--user-data-dir={}", self.profile.path().display()))
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .env("HOME", self.profile.path())
            .stdin(Stdio::null());
        command
    }

    /// Measures a page at some widths. Returns an object for each: `width`, `dark`, and the lists `wide`, `cut` and
    /// `faint`, which are empty for a good page; `maps` counts the maps of whole images that are visible, `requests` what
    /// the page loads.
    pub fn measure(&self, page: &Path, widths: &[u32], dark: bool) -> Vec<Value> {
        let harness = page.with_extension("measure.html");
        let name = page.file_name().unwrap().to_str().unwrap();
        let text = format!(
            "<!DOCTYPE html><meta charset=utf-8><body><script>const page={name:?}, widths={widths:?};\n{MEASURE}</script>"
        );
        std::fs::write(&harness, text).unwrap();
        let mut command = self.command(dark);
        command.args(["--virtual-time-budget=60000", "--dump-dom"]);
        let output = command.arg(format!("file://{}", harness.display())).output().unwrap();
        std::fs::remove_file(harness).unwrap();
        let dom = String::from_utf8_lossy(&output.stdout);
        let measured = dom.split_once("<pre>").and_then(|(_, rest)| rest.split_once("</pre>"));
        let (measured, _) = measured
            .unwrap_or_else(|| panic!("{dom}\n{}", String::from_utf8_lossy(&output.stderr)));
        let plain = measured.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        serde_json::from_str(&plain).unwrap_or_else(|why| panic!("{why}: {plain}"))
    }

    /// Makes a picture of a page (PNG).
    pub fn picture(&self, page: &Path, size: (u32, u32), dark: bool) -> PathBuf {
        let to = page.with_extension(if dark { "dark.png" } else { "light.png" });
        let mut command = self.command(dark);
        command
            .arg(format!("--screenshot={}", to.display()))
            .arg(format!("--window-size={},{}", size.0, size.1));
        let output = command.arg(format!("file://{}", page.display())).output().unwrap();
        assert!(to.is_file(), "{}", String::from_utf8_lossy(&output.stderr));
        to
    }

    /// Prints a page on paper (PDF).
    pub fn print(&self, page: &Path) -> PathBuf {
        let to = page.with_extension("pdf");
        let mut command = self.command(false);
        command.arg(format!("--print-to-pdf={}", to.display())).arg("--no-pdf-header-footer");
        let output = command.arg(format!("file://{}", page.display())).output().unwrap();
        assert!(to.is_file(), "{}", String::from_utf8_lossy(&output.stderr));
        to
    }
}
