//! `occystrap info --tree`: where the bytes of an image are, layer by layer, and which of them are wasted because a later
//! layer deletes or replaces their files.
//!
//! Every layer is read as a stream and checked against its digest. Sizes are those of the content of files as the layer
//! stores it: without the holes of sparse files, headers and padding of the tar.

pub mod dive_ci;
mod document;
mod efficiency;
mod largest;
mod rules;
mod survey;
mod text;
pub mod tree;

use std::io::{self, Write};

pub use efficiency::Efficiency;
pub use largest::{Amount, LargestPart, UsageEntry};
pub use rules::{Rule, RuleResult};
pub use survey::{
    DirectoryWaste, LayerFacts, Survey, SurveyedLayer, Waste, survey, survey_of_view,
};

use self::tree::PathVersion;
use crate::artifact::{SourceArtifact, images_alone};
use crate::source::Source;
use occystrap_base::error::Result;
use occystrap_base::terminal::table::Paper;
use occystrap_layer::overlay::Fate;
use occystrap_net::context::Context;

/// Exit code if an image fails a rule.
const FAILED: u8 = 1;

/// Exit code if no rule failed, but the numbers of an image are not complete.
const UNCHECKED: u8 = 3;

/// The usage of all images of a source.
pub struct Usage {
    /// The source, without secrets.
    source: String,
    /// The images, with the results of all rules.
    images: Vec<(Survey, Vec<RuleResult>)>,
    /// The artifacts beside them.
    artifacts: Vec<SourceArtifact>,
    rules: Vec<Rule>,
}

/// Reads every image of a source, and applies rules to each. The user is warned of artifacts beside them. Errors when an
/// image does not match its digests, and when the source has no image.
pub fn usage(source: &Source, rules: Vec<Rule>, context: &Context) -> Result<Usage> {
    let instead = "'occystrap info' without --tree describes it";
    let (images, artifacts) = images_alone(source.open(context)?, instead)?;
    let mut surveyed = Vec::new();
    for image in &images {
        let survey = survey(image, context)?;
        let results = rules.iter().map(|rule| rule.apply(&survey)).collect();
        surveyed.push((survey, results));
    }
    Ok(Usage { source: source.display.clone(), images: surveyed, artifacts, rules })
}

impl Usage {
    /// Writes the JSON document (docs/inspecting.md), with at most `top` items in each list.
    pub fn write_json(&self, top: Option<usize>, to: &mut dyn Write) -> io::Result<()> {
        document::write(&self.source, &self.images, &self.artifacts, top, to)
    }

    /// Writes the usage as text, with at most `top` items in each list.
    pub fn write_text(
        &self,
        top: Option<usize>,
        to: &mut dyn Write,
        paper: &Paper,
    ) -> io::Result<()> {
        for (index, (survey, results)) in self.images.iter().enumerate() {
            if index > 0 {
                writeln!(to)?;
            }
            let rules: Vec<_> = self.rules.iter().zip(results.iter().cloned()).collect();
            text::write(survey, &rules, top, to, paper)?;
        }
        Ok(())
    }

    /// Returns the exit code: 1 if an image fails a rule; 3 if none does, but the numbers of one are not complete; else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let any = |is: fn(&(Survey, Vec<RuleResult>)) -> bool| self.images.iter().any(is);
        match () {
            () if any(|(_, results)| results.iter().any(|result| result.failed)) => FAILED,
            () if !self.rules.is_empty() && any(|(survey, _)| survey.incomplete) => UNCHECKED,
            () => 0,
        }
    }
}

/// Returns whether a version is one of a layer.
fn is_of(layer: usize) -> impl Fn(&PathVersion) -> bool {
    move |version| version.layer == layer
}

/// Returns whether a layer deletes the content of a version, so that no name of it is left.
fn is_deleted_by(layer: usize) -> impl Fn(&PathVersion) -> bool {
    move |version| version.fate == Fate::Deleted(layer) && !version.kept
}
