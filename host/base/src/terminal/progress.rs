//! Progress bars on a terminal; nothing on other outputs.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::error::printable;
use crate::secret::mask;

/// Template of a bar, one line for each layer. Units are decimal, as in the summary. The name of the image takes the
/// remaining 8 of 80 columns. Its end is kept: images of one run differ in the tag or the platform, not in the
/// registry.
const TEMPLATE: &str = "{prefix:>14} [{bar:20}] {decimal_bytes:>9} / {decimal_total_bytes:<9} \
     {decimal_bytes_per_sec:>11} {wide_msg:>}";

/// Template for work whose length is unknown.
const WAITING: &str = "{prefix:>14} {spinner} {elapsed} {wide_msg:>}";

/// Time between steps of a spinner. Bars are drawn no more often either.
const TICK: Duration = Duration::from_millis(100);

/// Progress bars of one run. Cheap to clone.
#[derive(Clone)]
pub struct Progress(Option<Bars>);

#[derive(Clone)]
struct Bars {
    all: MultiProgress,
    /// Name of the image that new bars belong to.
    about: Arc<str>,
}

impl Progress {
    /// Shows bars on standard error where that is a terminal.
    #[must_use]
    pub fn on_terminal() -> Self {
        Self(std::io::stderr().is_terminal().then(|| {
            // Ten redraws a second: more costs time and shows nothing.
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            Bars { all, about: "".into() }
        }))
    }

    /// Returns the same bars, whose new ones show a name: where several images are moved, it shows which image a bar
    /// belongs to.
    #[must_use]
    pub fn about(&self, name: &str) -> Self {
        let name = printable(name);
        Self(self.0.as_ref().map(|bars| Bars { about: name.as_str().into(), ..bars.clone() }))
    }

    /// Shows no bars.
    #[must_use]
    pub fn hidden() -> Self {
        Self(None)
    }

    /// Creates a bar for a layer of `total` bytes, as it is stored. The bar appears with the first byte: before, it
    /// would show nothing, and the wait would count in its speed.
    #[must_use]
    pub fn layer(&self, label: &str, total: u64) -> LayerProgress {
        let Some(bars) = &self.0 else { return LayerProgress::hidden() };
        let (label, waiting) = (label.to_owned(), None);
        let state = State { label, total, estimated: false, waiting, bar: None };
        LayerProgress(Some(Arc::new(Bar { bars: bars.clone(), state: Mutex::new(state) })))
    }

    /// Creates a bar for a stream of about as many bytes; it grows when more arrive. A spinner is shown until the first
    /// byte, because a sender may prepare for some time first.
    #[must_use]
    pub fn stream(&self, label: &str, about: u64) -> LayerProgress {
        let progress = self.layer(label, about);
        if let Some(bar) = &progress.0 {
            let mut state = bar.state();
            (state.estimated, state.waiting) = (true, Some(self.waiting(label)));
        }
        progress
    }

    /// Shows a spinner while another process works and reports nothing. It disappears when this is dropped.
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

    /// Runs a function that writes to the terminal, above the bars.
    pub fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bars) => bars.all.suspend(write),
            None => write(),
        }
    }

    /// Returns standard error, for whole lines that appear above the bars.
    #[must_use]
    pub fn stderr(&self) -> Above {
        Above(self.0.as_ref().map(|bars| bars.all.clone()))
    }
}

/// Writer of lines without secrets, above the bars.
pub struct Above(Option<MultiProgress>);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Log lines arrive whole.
        let text = String::from_utf8_lossy(bytes);
        let shown = mask(&text);
        match &self.0 {
            Some(bars) => bars.suspend(|| io::stderr().write_all(shown.as_bytes())),
            None => io::stderr().write_all(shown.as_bytes()),
        }?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Spinner of [`Progress::waiting`].
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
    /// Spinner until the first byte.
    waiting: Option<Waiting>,
    /// Bar, from the first byte.
    bar: Option<ProgressBar>,
}

impl LayerProgress {
    /// Creates no bar.
    #[must_use]
    pub fn hidden() -> Self {
        Self(None)
    }

    /// Adds bytes that were moved.
    pub fn add(&self, bytes: u64) {
        self.step(|position| position + bytes);
    }

    /// Sets the number of bytes that were moved. It falls when an upload starts again.
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
    }

    /// Starts the next phase of the same work, of `total` bytes: a layer that was read is now sent. The bar keeps its
    /// line, and shows the speed of the new phase.
    pub fn begin(&self, verb: &str, total: u64) {
        let Some(bar) = &self.0 else { return };
        let mut state = bar.state();
        let label = match state.label.split_once(' ') {
            Some((_, which)) => format!("{verb} {which}"),
            None => verb.to_owned(),
        };
        if let Some(shown) = &state.bar {
            shown.set_prefix(label.clone());
            shown.set_length(total);
            shown.reset();
        }
        (state.label, state.total) = (label, total);
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

    /// Ends the work; its bar disappears.
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
            shown.finish_and_clear();
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
    use indicatif::TermLike;

    use super::*;

    /// Lines of a terminal, and the line of its cursor.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<(Vec<String>, usize)>>, u16);

    impl Screen {
        fn at<T>(&self, act: impl FnOnce(&mut Vec<String>, &mut usize) -> T) -> io::Result<T> {
            let mut screen = self.0.lock().unwrap();
            let (lines, row) = &mut *screen;
            if lines.len() <= *row {
                lines.resize(*row + 1, String::new());
            }
            Ok(act(lines, row))
        }

        fn lines(&self) -> Vec<String> {
            std::thread::sleep(Duration::from_millis(20));
            let screen = self.0.lock().unwrap();
            let lines = screen.0.iter().map(|line| line.trim().to_owned());
            lines.filter(|line| !line.is_empty()).collect()
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            self.1
        }
        fn height(&self) -> u16 {
            20
        }
        fn move_cursor_up(&self, n: usize) -> io::Result<()> {
            self.at(|_, row| *row = row.saturating_sub(n))
        }
        fn move_cursor_down(&self, n: usize) -> io::Result<()> {
            self.at(|_, row| *row += n)
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)?;
            self.move_cursor_down(1)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.at(|lines, row| lines[*row].push_str(text))
        }
        fn clear_line(&self) -> io::Result<()> {
            self.at(|lines, row| lines[*row].clear())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn progress() -> (Progress, Screen) {
        progress_on(100)
    }

    fn progress_on(width: u16) -> (Progress, Screen) {
        let screen = Screen(Arc::default(), width);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 200);
        let all = MultiProgress::with_draw_target(target);
        (Progress(Some(Bars { all, about: "".into() })), screen)
    }

    /// Makes sure that the next step is drawn.
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
        let widest = || {
            let lines = term.0.lock().unwrap().0.clone();
            lines.iter().map(|line| line.chars().count()).max().unwrap()
        };
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
