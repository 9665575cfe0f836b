//! Progress of many images: a line for each one in work, and one for all of them.
//!
//! The lines of layers are not shown: of several images at a time they would fill the terminal. Lines are drawn ten times
//! a second at most, and each fits the terminal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::progress::{Progress, ProgressSink, ProgressStep};
use super::size::size;
use crate::error::printable;

/// Line of an image. The end of its name is kept: images differ in the tag.
const IMAGE: &str = "{prefix:>9} {decimal_bytes:>9} / {decimal_total_bytes:<9} {wide_msg:>}";

/// Line of an image of which no bytes move just now.
const QUIET: &str = "{prefix:>9}                       {wide_msg:>}";

/// Line of all images.
const ALL: &str = "{pos:>9}/{len} images [{bar:16}] {wide_msg}";

/// How often rate and remaining time are computed again.
const REFRESH: Duration = Duration::from_millis(500);

/// Lines of images at most. More are counted in the last line alone.
const MOST_LINES: usize = 16;

/// The lines of a run. Cheap to clone.
#[derive(Clone)]
pub struct Board(Option<Arc<Lines>>);

struct Lines {
    multi: MultiProgress,
    all: ProgressBar,
    /// Counts bytes for their rate; it is not shown.
    rate: ProgressBar,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    failed: u64,
    images: HashMap<String, Image>,
}

/// An image in work.
struct Image {
    bar: ProgressBar,
    phase: Phase,
    /// Transfers by their label: bytes and total; those that read, and those that pass on what was read.
    fetched: HashMap<String, (u64, u64)>,
    sent: HashMap<String, (u64, u64)>,
    /// Number of transfers of both that go on.
    active: (usize, usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Asking,
    Fetching,
    Sending,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Asking => "check",
            Self::Fetching => "fetch",
            Self::Sending => "send",
        }
    }
}

impl Board {
    /// Shows lines where the bars of a run are shown.
    #[must_use]
    pub fn on(progress: &Progress) -> Self {
        Self(progress.screen().map(|multi| Lines::on(multi.clone())))
    }

    /// Returns progress whose steps are shown in these lines, and not in lines of their own.
    #[must_use]
    pub fn progress(&self, of: &Progress) -> Progress {
        match &self.0 {
            Some(lines) => of.told_to(Arc::clone(lines) as Arc<dyn ProgressSink>),
            None => of.clone(),
        }
    }

    /// Sets the number of images, and how many of them are done.
    pub fn begin(&self, images: u64, done: u64) {
        if let Some(lines) = &self.0 {
            lines.all.set_length(images);
            lines.all.set_position(done);
            lines.all.reset_eta();
            lines.refresh();
        }
    }

    /// Adds the line of an image. `name` is the name that its steps have.
    pub fn started(&self, name: &str) {
        if let Some(lines) = &self.0 {
            lines.started(name);
        }
    }

    /// Removes the line of an image that has ended, and counts it.
    pub fn ended(&self, name: &str, is_failed: bool) {
        if let Some(lines) = &self.0 {
            lines.left(name);
            lines.state().failed += u64::from(is_failed);
            lines.all.inc(1);
        }
    }

    /// Removes the line of an image that waits for another attempt.
    pub fn postponed(&self, name: &str) {
        if let Some(lines) = &self.0 {
            lines.left(name);
        }
    }

    /// Removes all lines.
    pub fn clear(&self) {
        if let Some(lines) = &self.0 {
            for (_, image) in lines.state().images.drain() {
                image.bar.finish_and_clear();
            }
            lines.all.finish_and_clear();
        }
    }
}

impl Lines {
    fn on(multi: MultiProgress) -> Arc<Self> {
        let all = multi.add(ProgressBar::new(0));
        set_style(&all, ALL);
        let rate = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let lines = Arc::new(Self { multi, all, rate, state: Mutex::default() });
        let weak = Arc::downgrade(&lines);
        // It ends with the board.
        thread::spawn(move || keep_fresh(&weak));
        lines
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(&self, name: &str) {
        let name = printable(name);
        let mut state = self.state();
        if state.images.len() >= MOST_LINES || state.images.contains_key(&name) {
            return;
        }
        let bar = ProgressBar::new(0).with_message(name.clone());
        let bar = self.multi.insert_before(&self.all, bar);
        set_style(&bar, QUIET);
        bar.set_prefix(Phase::Asking.word());
        let (fetched, sent) = (HashMap::new(), HashMap::new());
        let image = Image { bar, phase: Phase::Asking, fetched, sent, active: (0, 0) };
        state.images.insert(name, image);
    }

    fn left(&self, name: &str) {
        if let Some(image) = self.state().images.remove(&printable(name)) {
            image.bar.finish_and_clear();
        }
    }

    /// Computes what the last line says.
    fn refresh(&self) {
        let failed = self.state().failed;
        let mut parts = vec![size(self.rate.position())];
        let rate = self.rate.per_sec();
        if rate >= 1.0 && rate.is_finite() {
            // A rate is a positive number of bytes, far below 2^63.
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            parts.push(format!("{}/s", size(rate as u64)));
        }
        let (position, length) = (self.all.position(), self.all.length().unwrap_or(0));
        let eta = self.all.eta().as_secs();
        if position > 0 && position < length && eta > 0 {
            parts.push(format!("{} left", spelled(eta)));
        }
        if failed > 0 {
            parts.push(format!("{failed} FAILED"));
        }
        if length > 0 && !self.all.is_finished() {
            self.all.set_message(parts.join(", "));
        }
    }
}

impl ProgressSink for Lines {
    fn update(&self, step: &ProgressStep<'_>) {
        let mut state = self.state();
        let image = state.images.get_mut(step.image);
        let moved = match image {
            Some(image) => image.update(step),
            None => 0,
        };
        drop(state);
        if moved > 0 {
            self.rate.inc(moved);
        }
    }
}

impl Image {
    /// Notes a step. Returns the bytes that are new.
    fn update(&mut self, step: &ProgressStep<'_>) -> u64 {
        let transfers = if step.passes_on { &mut self.sent } else { &mut self.fetched };
        let active = if step.passes_on { &mut self.active.1 } else { &mut self.active.0 };
        let before = transfers.insert(step.label.to_owned(), (step.bytes, step.total));
        match (before, step.ended) {
            (None, false) => *active += 1,
            (Some(_), true) => *active = active.saturating_sub(1),
            _ => {}
        }
        let moved = step.bytes.saturating_sub(before.map_or(0, |(bytes, _)| bytes));
        let phase = match self.active {
            (0, 0) => Phase::Asking,
            (0, _) => Phase::Sending,
            _ => Phase::Fetching,
        };
        if phase != self.phase {
            self.phase = phase;
            set_style(&self.bar, if phase == Phase::Asking { QUIET } else { IMAGE });
            self.bar.set_prefix(phase.word());
        }
        let shown = if phase == Phase::Sending { &self.sent } else { &self.fetched };
        let sums = shown.values().fold((0, 0), |sums: (u64, u64), (bytes, total)| {
            (sums.0.saturating_add(*bytes), sums.1.saturating_add(*total))
        });
        self.bar.set_length(sums.1.max(sums.0));
        self.bar.set_position(sums.0);
        if step.passes_on { 0 } else { moved }
    }
}

fn keep_fresh(lines: &Weak<Lines>) {
    loop {
        thread::sleep(REFRESH);
        match lines.upgrade() {
            Some(lines) => lines.refresh(),
            None => return,
        }
    }
}

fn set_style(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
}

/// Returns a time in two units at most: `42m40s`.
#[must_use]
pub fn spelled(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_screen::TestScreen;
    use super::*;

    fn board(columns: u16) -> (Arc<Lines>, TestScreen) {
        let term = TestScreen::of(columns);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), 200);
        (Lines::on(MultiProgress::with_draw_target(target)), term)
    }

    fn step<'a>(label: &'a str, bytes: u64, total: u64, passes_on: bool) -> ProgressStep<'a> {
        let image = "registry.example.com/team/app-of-a-long-name:1.0";
        ProgressStep { image, label, bytes, total, ended: false, passes_on }
    }

    #[test]
    fn an_image_has_one_line_above_that_of_all() {
        for columns in [40, 80, 200] {
            let (lines, term) = board(columns);
            let board = Board(Some(Arc::clone(&lines)));
            board.begin(20, 4);
            let name = "registry.example.com/team/app-of-a-long-name:1.0";
            board.started(name);
            for (label, bytes) in [("layer 1/2", 1_000), ("layer 2/2", 500_000)] {
                thread::sleep(Duration::from_millis(20));
                lines.update(&step(label, bytes, 2_000_000, false));
            }
            lines.refresh();
            thread::sleep(Duration::from_millis(20));
            lines.update(&step("layer 2/2", 600_000, 2_000_000, false));
            let shown = term.lines();
            assert_eq!(shown.len(), 2, "{shown:?}");
            assert!(shown[0].contains("fetch 601.00 kB / 4.00 MB"), "{shown:?}");
            assert!(columns < 80 || shown[0].ends_with("name:1.0"), "{shown:?}");
            assert!(shown[1].contains("4/20 images ["), "{shown:?}");
            assert!(term.widest() <= columns.into(), "{shown:?}");
            assert_eq!(lines.rate.position(), 601_000);
            board.ended(name, true);
            lines.refresh();
            assert_eq!((lines.all.position(), lines.state().failed), (5, 1));
            board.clear();
            assert_eq!(term.lines(), Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_passed_on_is_counted_once() {
        let (lines, _) = board(80);
        let name = "registry.example.com/team/app-of-a-long-name:1.0";
        lines.started(name);
        lines.update(&step("layer 1/1", 1_000, 1_000, false));
        lines.update(&ProgressStep { ended: true, ..step("layer 1/1", 1_000, 1_000, false) });
        lines.update(&step("push 1/1", 700, 1_000, true));
        assert_eq!(lines.rate.position(), 1_000);
        let state = lines.state();
        assert_eq!(state.images[name].bar.position(), 700);
        assert!(state.images[name].phase == Phase::Sending);
    }
}
