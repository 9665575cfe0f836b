//! What the user sees while bytes move: bars on a terminal, nothing elsewhere.

use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

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

    /// A bar for a layer of `total` bytes, as far as is known.
    #[must_use]
    pub fn layer(&self, label: &str, total: Option<u64>) -> LayerProgress {
        let Some(bars) = &self.0 else { return LayerProgress(None) };
        let (bar, template) = match total {
            Some(total) => (
                ProgressBar::new(total),
                "{prefix:>12} {bar:28} {bytes:>10} / {total_bytes:<10} {bytes_per_sec}",
            ),
            None => {
                (ProgressBar::new_spinner(), "{prefix:>12} {spinner} {bytes:>10} {bytes_per_sec}")
            }
        };
        let bar = bars.add(bar.with_prefix(label.to_owned()));
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        LayerProgress(Some(bar))
    }

    /// Print a line above the bars, or just print it.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
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

    /// The layer is done; its bar goes.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
