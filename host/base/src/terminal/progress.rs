//! Progress while bytes move: bars on a terminal, calls of a [`ProgressSink`], or nothing.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::pending_writes;
use crate::error::printable;
use crate::secret::mask;

/// Template of the bar of a layer: one line, with decimal units, as in the summary. The name of the image gets the
/// columns that are left, 8 of 80. A longer name loses its beginning, because the images of one run differ in the tag
/// or the platform, and not in the registry.
const TEMPLATE: &str = "{prefix:>14} [{bar:20}] {decimal_bytes:>9} / {decimal_total_bytes:<9} \
     {decimal_bytes_per_sec:>11} {wide_msg:>}";

/// Template of a line for work of unknown length.
const WAITING: &str = "{prefix:>14} {spinner} {elapsed} {wide_msg:>}";

/// Time between two movements of a spinner. Bars are not drawn more often either.
const TICK: Duration = Duration::from_millis(100);

/// The bars of one run. Cheap to clone.
#[derive(Clone)]
pub struct Progress(Option<Bars>);

#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    /// What stands on the terminal: `all`, or the lines that the sink shows there.
    screen: MultiProgress,
    /// The image that new bars belong to; empty where a run has only one.
    about: Arc<str>,
    /// Where each step is reported, besides the bars.
    sink: Option<Arc<dyn ProgressSink>>,
}

/// Receiver of progress, for programs that show it in their own way.
///
/// It is called from several threads, for each chunk of bytes that has passed. It must return quickly: the work waits
/// for it.
pub trait ProgressSink: Send + Sync {
    /// Receives how far one transfer is.
    fn update(&self, step: &ProgressStep<'_>);
}

impl<F: Fn(&ProgressStep<'_>) + Send + Sync> ProgressSink for F {
    fn update(&self, step: &ProgressStep<'_>) {
        self(step);
    }
}

/// State of one transfer, such as one layer that is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgressStep<'a> {
    /// Name of the image; empty where the run has only one.
    pub image: &'a str,
    /// What is transferred, such as `layer 1/3` or `push 1/3`.
    pub label: &'a str,
    /// Bytes so far. The number falls where an upload starts again.
    pub bytes: u64,
    /// Bytes in all, as far as they are known: an estimate may be exceeded.
    pub total: u64,
    /// Whether the transfer has ended, completely or not.
    pub ended: bool,
    /// Whether the bytes were read by an earlier transfer and are passed on, as by an upload.
    pub passes_on: bool,
}

impl Progress {
    /// Returns bars on standard error, if that is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            // Ten redraws a second: more costs time and shows nothing.
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            Bars { screen: all.clone(), all, about: "".into(), sink: None }
        }))
    }

    /// Returns progress that calls `sink` instead of showing bars.
    #[must_use]
    pub fn reported_to(sink: Arc<dyn ProgressSink>) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Self(Some(Bars { screen: all.clone(), all, about: "".into(), sink: Some(sink) }))
    }

    /// Returns the same progress, which calls `sink` instead of showing bars. Text that is written above the bars still
    /// appears above the lines that stand on the terminal.
    pub(super) fn told_to(&self, sink: Arc<dyn ProgressSink>) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        Self(self.0.as_ref().map(|bars| Bars { all, sink: Some(sink), ..bars.clone() }))
    }

    /// Returns what stands on the terminal; `None` where nothing is shown there.
    pub(super) fn screen(&self) -> Option<&MultiProgress> {
        self.0.as_ref().map(|bars| &bars.screen)
    }

    /// Returns the same bars with a name after each label, so that users can distinguish several
    /// images.
    #[must_use]
    pub fn about(&self, name: &str) -> Self {
        let name = printable(name);
        Self(self.0.as_ref().map(|bars| Bars { about: name.as_str().into(), ..bars.clone() }))
    }

    /// Returns progress that shows no bars.
    #[must_use]
    pub fn hidden() -> Self {
        Self(None)
    }

    /// Returns a bar for a layer that has `total` bytes as it is stored. The bar appears with the first byte: before
    /// that there is nothing to show, and the time of waiting would lower the speed that is shown.
    #[must_use]
    pub fn layer(&self, label: &str, total: u64) -> LayerProgress {
        let Some(bars) = &self.0 else { return LayerProgress::hidden() };
        let (label, waiting) = (label.to_owned(), None);
        let state = State { label, total, estimated: false, passes_on: false, waiting, bar: None };
        LayerProgress(Some(Arc::new(Bar { bars: bars.clone(), state: Mutex::new(state) })))
    }

    /// Returns a bar for a stream of about this many bytes; its total grows with the stream. Until the first byte it
    /// shows a spinner, because the sender may be silent at first.
    #[must_use]
    pub fn stream(&self, label: &str, about: u64) -> LayerProgress {
        let progress = self.layer(label, about);
        if let Some(bar) = &progress.0 {
            let mut state = bar.state();
            (state.estimated, state.waiting) = (true, Some(self.waiting(label)));
        }
        progress
    }

    /// Shows a spinner while another program works and does not report how far it is. The line disappears when the
    /// returned value is dropped.
    #[must_use]
    pub fn waiting(&self, label: &str) -> Waiting {
        Waiting(self.0.as_ref().map(|bars| {
            let spinner = ProgressBar::new_spinner().with_prefix(label.to_owned());
            let bar = bars.all.add(spinner.with_message(bars.about.to_string()));
            if let Ok(style) = ProgressStyle::with_template(WAITING) {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        }))
    }

    /// Calls `write`, so that the text that it writes to the terminal appears above the bars.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bars) => bars.screen.suspend(write),
            None => write(),
        }
    }

    /// Returns a writer to standard error. It takes whole lines, which appear above the bars.
    #[must_use]
    pub fn stderr(&self) -> Above {
        Above(self.0.as_ref().map(|bars| bars.screen.clone()))
    }
}

/// Writes lines without secrets above the bars.
pub struct Above(Option<MultiProgress>);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Each call has whole lines of the log.
        let text = String::from_utf8_lossy(bytes);
        let shown = mask(&text);
        match &self.0 {
            Some(bars) => bars.suspend(|| io::stderr().write_all(shown.as_bytes())),
            None => pending_writes::during(|| io::stderr().write_all(shown.as_bytes())),
        }?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// See [`Progress::waiting`].
pub struct Waiting(Option<ProgressBar>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Bar of one layer, or of other work that takes as long. Cheap to clone.
#[derive(Clone, Default)]
pub struct LayerProgress(Option<Arc<Bar>>);

struct Bar {
    bars: Bars,
    state: Mutex<State>,
}

struct State {
    label: String,
    total: u64,
    /// Whether the total is an estimate.
    estimated: bool,
    /// Whether the bytes were read by an earlier transfer.
    passes_on: bool,
    /// The spinner, until the first byte.
    waiting: Option<Waiting>,
    /// The bar, from the first byte on.
    bar: Option<ProgressBar>,
}

impl LayerProgress {
    /// Returns a bar that is never shown.
    #[must_use]
    pub fn hidden() -> Self {
        Self(None)
    }

    /// Adds bytes that have passed.
    pub fn add(&self, bytes: u64) {
        self.step(|position| position + bytes);
    }

    /// Sets how many bytes have passed in all. The number is smaller than before when an upload starts again.
    pub fn set(&self, bytes: u64) {
        self.step(|_| bytes);
    }

    fn step(&self, step: impl FnOnce(u64) -> u64) {
        let Some(bar) = &self.0 else { return };
        let mut state = bar.state();
        let (estimated, total) = (state.estimated, state.total);
        let shown = bar.shown(&mut state);
        let position = step(shown.position());
        if estimated && position > total {
            shown.set_length(position);
        }
        shown.set_position(position);
        if estimated {
            state.total = total.max(position);
        }
        bar.report(&state, position, false);
    }

    /// Starts the next step of the same transfer, with `total` bytes: a layer that was read is now sent. The line
    /// stays, and its speed starts anew.
    pub fn begin(&self, verb: &str, total: u64) {
        let Some(bar) = &self.0 else { return };
        let mut state = bar.state();
        let label = match state.label.split_once(' ') {
            Some((_, which)) => format!("{verb} {which}"),
            None => verb.to_owned(),
        };
        if let Some(shown) = &state.bar {
            // The transfer before has another label: it has ended.
            bar.report(&state, shown.position(), true);
            shown.set_prefix(label.clone());
            shown.set_length(total);
            shown.reset();
        }
        (state.label, state.total, state.passes_on) = (label, total, true);
    }

    /// Adds bytes to the total.
    pub fn more(&self, bytes: u64) {
        let Some(bar) = &self.0 else { return };
        let mut state = bar.state();
        state.total = state.total.saturating_add(bytes);
        if let Some(shown) = &state.bar {
            shown.set_length(state.total);
        }
    }

    /// Removes the bar, because the layer is done.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.clear();
        }
    }
}

impl Bar {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clear(&self) {
        let mut state = self.state();
        drop(state.waiting.take());
        if let Some(shown) = state.bar.take() {
            let position = shown.position();
            shown.finish_and_clear();
            self.report(&state, position, true);
        }
    }

    fn report(&self, state: &State, bytes: u64, ended: bool) {
        if let Some(sink) = &self.bars.sink {
            let State { label, total, passes_on, .. } = state;
            sink.update(&ProgressStep {
                passes_on: *passes_on,
                image: &self.bars.about,
                label,
                bytes,
                total: *total,
                ended,
            });
        }
    }

    fn shown<'a>(&self, state: &'a mut State) -> &'a ProgressBar {
        let State { label, total, waiting, bar, .. } = state;
        bar.get_or_insert_with(|| {
            drop(waiting.take());
            let bar = ProgressBar::new(*total).with_prefix(label.clone());
            let bar = self.bars.all.add(bar.with_message(self.bars.about.to_string()));
            if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_screen::TestScreen;
    use super::*;

    fn progress() -> (Progress, TestScreen) {
        progress_on(100)
    }

    fn progress_on(width: u16) -> (Progress, TestScreen) {
        let screen = TestScreen::of(width);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 200);
        let all = MultiProgress::with_draw_target(target);
        (Progress(Some(Bars { screen: all.clone(), all, about: "".into(), sink: None })), screen)
    }

    /// Adds bytes after a pause that is long enough for the next redraw.
    fn step(layer: &LayerProgress, bytes: u64) {
        std::thread::sleep(Duration::from_millis(20));
        layer.add(bytes);
    }

    #[test]
    fn a_layer_has_one_line_from_its_first_byte_to_its_last() {
        let (progress, term) = progress();
        let layer = progress.layer("layer 1/2", 2_000_000);
        assert_eq!(term.lines(), Vec::<String>::new());
        step(&layer, 1_000_000);
        step(&layer, 500_000);
        let shown = term.lines();
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown[0].starts_with("layer 1/2 [") && shown[0].contains("/ 2.00 MB"), "{shown:?}");
        layer.begin("push", 700_000);
        step(&layer, 70_000);
        step(&layer, 70_000);
        let shown = term.lines();
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(
            shown[0].starts_with("push 1/2 [") && shown[0].contains("/ 700.00 kB"),
            "{shown:?}"
        );
        layer.finish();
        assert_eq!(term.lines(), Vec::<String>::new());
    }

    #[test]
    fn a_line_fits_a_terminal_of_80_columns() {
        let (progress, term) = progress_on(80);
        let named = progress.about("registry.example.com/team/app-of-a-long-name:1.0");
        let widest = || term.widest();
        let layer = named.layer("layer 100/127", 123_456_789_012);
        step(&layer, 111_111_111_111);
        step(&layer, 1_000_000);
        let shown = term.lines();
        assert!(shown[0].contains("/ 123.46 GB ") && shown[0].ends_with(" name:1.0"), "{shown:?}");
        assert!(widest() <= 80, "{shown:?}");
        drop(layer);
        let waiting = named.waiting("engine loads");
        std::thread::sleep(2 * TICK);
        assert!(widest() <= 80, "{:?}", term.lines());
        drop(waiting);
    }

    #[test]
    fn of_several_things_each_line_says_of_which_it_is() {
        let (progress, term) = progress();
        let named = progress.about("team/app:\u{1b}1");
        let layer = named.layer("layer 1/2", 100);
        step(&layer, 50);
        step(&layer, 10);
        let shown = term.lines();
        assert!(shown.len() == 1 && shown[0].ends_with(" team/app:?1"), "{shown:?}");
        drop(layer);
        let waiting = named.waiting("verify");
        std::thread::sleep(2 * TICK);
        let shown = term.lines();
        assert!(shown.len() == 1 && shown[0].ends_with(" team/app:?1"), "{shown:?}");
        drop(waiting);
    }

    #[test]
    fn a_sink_receives_each_step_and_the_end() {
        let steps = Arc::new(Mutex::new(Vec::new()));
        let kept = steps.clone();
        let sink = move |step: &ProgressStep<'_>| {
            let line = format!("{} {} {}/{}", step.image, step.label, step.bytes, step.total);
            kept.lock().unwrap().push((line, step.ended));
        };
        let layer = Progress::reported_to(Arc::new(sink)).about("app").layer("layer 1/1", 10);
        layer.add(4);
        layer.add(6);
        drop(layer);
        let expected = [("app layer 1/1 4/10", false), ("app layer 1/1 10/10", false)];
        let expected = expected.into_iter().chain([("app layer 1/1 10/10", true)]);
        let expected: Vec<_> = expected.map(|(line, ended)| (line.to_owned(), ended)).collect();
        assert_eq!(*steps.lock().unwrap(), expected);
    }

    #[test]
    fn a_stream_never_passes_its_end() {
        let (progress, term) = progress();
        let stream = progress.stream("export", 100);
        std::thread::sleep(2 * TICK);
        let shown = term.lines();
        assert!(shown[0].starts_with("export ") && !shown[0].contains('['), "{shown:?}");
        step(&stream, 150);
        step(&stream, 150);
        let shown = term.lines();
        assert!(shown.len() == 1 && shown[0].contains("300 B / 300 B"), "{shown:?}");
        drop(stream);
        assert_eq!(term.lines(), Vec::<String>::new());
    }
}
