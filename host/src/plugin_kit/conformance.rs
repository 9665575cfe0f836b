//! `occystrap plugin test`: tests whether a component keeps the contract of `wit/`, and names each rule that it breaks.
//!
//! The test asks more of a plugin than the host does. The host verifies by itself, so that an image is safe even if the
//! `verify` of the plugin finds nothing. A plugin passes this test only if its own `verify` finds every damage. All
//! cases use a temporary folder. If the plugin writes to a web server, a small web server serves that folder.
//!
//! It refuses to guess: a case that cannot be run without a registry or an engine is *skipped*, and a run with skipped
//! cases is no pass.

mod damage;
mod report;
mod server;
mod specimen;
mod stand;
mod verifying;
mod writing;

pub use report::{Answer, Report, Row};

use std::time::{Duration, Instant};

use self::stand::Stand;
use occystrap_base::error::{Error, Kind as ErrorKind, Result};
use occystrap_base::oci::Digest;
use occystrap_net::context::Context;
use occystrap_output::plugin::description::DestinationKind as Kind;
use occystrap_output::plugin::{Plugin, PluginEngine};

/// Reason why a case did not pass.
enum Stop {
    /// The plugin broke the contract: a description.
    Failed(String),
    /// The case does not apply to this plugin, or cannot be run here: a description.
    Skipped(String),
}

/// Result of a case.
type Verdict = std::result::Result<(), Stop>;

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.hint_text() {
            Some(hint) => Self::Failed(format!("{error} ({hint})")),
            None => Self::Failed(error.to_string()),
        }
    }
}

/// Returns a failure with a message.
fn fail<T>(why: impl Into<String>) -> std::result::Result<T, Stop> {
    Err(Stop::Failed(why.into()))
}

/// One case of the test.
type Case = (&'static str, fn(&Stand<'_>) -> Verdict);

/// Cases that need no destination.
const SPOKEN: [Case; 3] = [
    ("describes itself the same each time", writing::describes),
    ("imports what its destination needs", writing::permissions),
    ("takes its options, refuses what is not of their form", writing::options),
];

/// Cases that write and verify, in the order in which an author wants to see them fail.
const WRITTEN: [Case; 22] = [
    ("writes a small image", writing::small_image),
    ("writes an image with 200 layers", writing::many_layers),
    ("writes an image without layers", writing::no_layers),
    ("writes empty layers", writing::empty_layers),
    ("writes a layer that comes twice", writing::layer_twice),
    ("writes layers of every compression", writing::compressions),
    ("writes names of every form", writing::names),
    ("writes with every value of its switches", writing::switches),
    ("writes the same image again", writing::again),
    ("writes another image to the same place", writing::another),
    ("writes the same bytes for the same image", writing::determinism),
    ("leaves no trace of a write that failed", writing::restart),
    ("writes several platforms and their index", writing::index),
    ("verify finds nothing wrong after a write", verifying::sound),
    ("verify changes nothing", verifying::changes_nothing),
    ("verify finds a file that is missing", verifying::missing),
    ("verify finds a file that was cut", verifying::cut),
    ("verify finds a file that has grown", verifying::grown),
    ("verify finds a folder in a file's place", verifying::folder),
    ("verify finds a byte that has changed", verifying::changed),
    ("verify finds an entry that is gone", verifying::entry),
    ("verify finds an image that is gone", verifying::nothing_left),
];

/// Reason why nothing can be written here.
const NEEDS_REGISTRY: &str = "needs a registry";
const NEEDS_ENGINE: &str = "needs a container engine";

/// Reason why all other cases that write are skipped when the first one fails: twenty failures with one cause would
/// hide that cause.
const NOTHING_WRITTEN: &str = "a small image could not be written";

/// Runs every case on a component. `name` stands for the component until it has said its own name; `options` are used
/// in every case. The report has the problems of the plugin. Errors when the user interrupts, when the plugin does not
/// have one of the options, or when no case can be run.
pub fn run(
    engine: &PluginEngine,
    name: &str,
    bytes: &[u8],
    options: &[(String, String)],
    context: &Context,
) -> Result<Report> {
    let started = Instant::now();
    let mut report = Report::new(name, Digest::of(bytes), bytes.len());
    let loaded = Plugin::load(engine, name, bytes);
    let answer = match &loaded {
        Ok(_) => Answer::Passed,
        Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error.clone()),
        Err(error) => match Stop::from(error.clone()) {
            Stop::Failed(why) | Stop::Skipped(why) => Answer::Failed(why),
        },
    };
    report.add("is a component that this version can run", answer, started.elapsed());
    let Ok(plugin) = loaded else { return Ok(report) };
    report.of(&plugin);

    let stand = Stand::new(&plugin, options, context)?;
    let mut not_run = match plugin.description().destination {
        Kind::Directory | Kind::File | Kind::TaggedDirectory | Kind::Web => None,
        Kind::Repository => Some(Answer::Lacking(NEEDS_REGISTRY)),
        Kind::Engine => Some(Answer::Lacking(NEEDS_ENGINE)),
    };
    for (what, case) in SPOKEN {
        try_one(what, case, &stand, &mut report)?;
    }
    for (what, case) in WRITTEN {
        if let Some(answer) = &not_run {
            report.add(what, answer.clone(), Duration::ZERO);
        } else if !try_one(what, case, &stand, &mut report)? && what == WRITTEN[0].0 {
            not_run = Some(Answer::Skipped(NOTHING_WRITTEN.to_owned()));
        }
    }
    Ok(report)
}

/// Returns whether the plugin did not fail.
fn try_one(
    what: &'static str,
    case: fn(&Stand<'_>) -> Verdict,
    stand: &Stand<'_>,
    report: &mut Report,
) -> Result<bool> {
    stand.context.cancel.check()?;
    let started = Instant::now();
    let verdict = case(stand);
    // An interrupted case says nothing about the plugin.
    stand.context.cancel.check()?;
    let answer = match verdict {
        Ok(()) => Answer::Passed,
        Err(Stop::Failed(why)) => Answer::Failed(stand.relative(&why)),
        Err(Stop::Skipped(why)) => Answer::Skipped(why),
    };
    let passed = !matches!(answer, Answer::Failed(_));
    report.add(what, answer, started.elapsed());
    Ok(passed)
}
