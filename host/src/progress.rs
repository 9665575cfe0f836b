//! What the user sees while bytes move: bars on a terminal, nothing elsewhere.

use std::io::{self, IsTerminal, Write};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One line a layer. Decimal units, as in the summary.
const TEMPLATE: &str =
    "{prefix:>14} [{bar:30}] {decimal_bytes:>9} / {decimal_total_bytes:<9} {decimal_bytes_per_sec}";

/// The bars of one run. Cheap to clone.
#[derive(Clone)]
pub struct Progress(Option<MultiProgress>);

impl Progress {
    /// Bars on standard error where that is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            // Ten redraws a second: more costs time and shows nothing.
            MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10))
        }))
    }

    /// No bars.
    #[must_use]
    pub fn hidden() -> Self {
        Self(None)
    }

    /// A bar for a layer of `total` bytes, as it is stored.
    #[must_use]
    pub fn layer(&self, label: &str, total: u64) -> LayerProgress {
        let Some(bars) = &self.0 else { return LayerProgress(None) };
        let bar = bars.add(ProgressBar::new(total).with_prefix(label.to_owned()));
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style.progress_chars("=> "));
        }
        LayerProgress(Some(bar))
    }

    /// Do something that writes to the terminal, above the bars.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    /// Standard error, for whole lines that appear above the bars.
    #[must_use]
    pub fn stderr(&self) -> Above {
        Above(self.0.clone())
    }
}

/// Writes above the bars.
pub struct Above(Option<MultiProgress>);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.0 {
            Some(bars) => bars.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The bar of one layer. Cheap to clone.
#[derive(Clone)]
pub struct LayerProgress(Option<ProgressBar>);

impl LayerProgress {
    /// No bar.
    #[must_use]
    pub fn hidden() -> Self {
        Self(None)
    }

    /// Bytes have passed.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// So many bytes have passed in all. The number falls back when an upload begins again.
    pub fn set(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(bytes);
        }
    }

    /// The layer is done; its bar goes.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
