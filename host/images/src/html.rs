//! `occystrap info --html`: one page about all images of a source, for a browser.
//!
//! The page has no scripts and loads nothing: the drawings are inline SVG, and its own policy (`Content-Security-Policy`)
//! forbids everything but its style. Its size depends on what is drawn, not on the image: maps have a smallest cell, and
//! lists an end. What is left out is counted. Names from an image are text, whatever they contain (`html/text.rs`).
//!
//! Layers are read once: `check` reads them, and the maps are drawn from what it has read.

mod findings;
mod image;
mod map;
pub mod text;
mod treemap;

use std::io::{self, Write};

use serde::Serialize;

use crate::artifact::SourceArtifact;
use crate::check::{CheckedImage, Examined, LayerMembers, Severity, examine};
use crate::source::Source;
use crate::source::view::{View, ViewKind};
use crate::usage::survey_of_view;
use occystrap_base::error::{Result, printable};
use occystrap_base::oci::name::title;
use occystrap_base::terminal::size::size;
use occystrap_base::terminal::table::write_json;
use occystrap_net::context::Context;

use text::{LONGEST_TEXT, add, count, escaped};

/// The style of the page.
const STYLE: &str = include_str!("html/page.css");

/// Most images of a source that a page describes. A longer page does not help, and its size has an end.
const MOST_IMAGES: usize = 20;

/// The page about a source.
pub struct Page {
    /// The source, without secrets.
    source: String,
    images: Vec<Examined<ImagePart>>,
    /// Number of images that are not described.
    left_out: usize,
}

/// What a page says of an image besides its findings.
#[derive(Default)]
struct ImagePart {
    name: String,
    /// Bytes of its files; `None` if they are not known.
    size: Option<u64>,
    /// Wasted bytes; `None` if they are not known.
    wasted: Option<u64>,
    /// Numbers of the layers that could not be read, from 0.
    unread: Vec<usize>,
    /// What it is and has, for the line on standard output.
    line: String,
    facts: String,
    body: String,
}

/// Reads every image of a source, checks it, and draws it. Artifacts beside images are named and checked. Errors when the
/// source cannot be read, or has no image. A damaged layer is a finding, and the page shows what was read of it.
pub fn page(source: &Source, context: &Context) -> Result<Page> {
    let (mut artifact, mut has_image) = (None, false);
    let mut images = examine(source, context, |index, view, members, checked| {
        view.check_is_there()?;
        let found = SourceArtifact::of_view(&view);
        has_image |= found.is_none();
        let part = match (&found, index < MOST_IMAGES) {
            (_, false) => ImagePart::default(),
            (Some(found), true) => of_artifact(found, checked, &source.display),
            (None, true) => part(&view, members, checked, index + 1, &source.display),
        };
        artifact = artifact.take().or(found);
        Ok(part)
    })?;
    if let Some(artifact) = artifact.filter(|_| !has_image) {
        return Err(artifact.refused("'occystrap info' describes it"));
    }
    let left_out = images.len().saturating_sub(MOST_IMAGES);
    images.truncate(MOST_IMAGES);
    Ok(Page { source: source.display.clone(), images, left_out })
}

/// Draws one image.
fn part(
    view: &View,
    members: &LayerMembers,
    checked: &CheckedImage,
    number: usize,
    source: &str,
) -> ImagePart {
    let survey = survey_of_view(view, members, checked);
    let layers = count(survey.layers.len(), "layer", "layers");
    let wasted = match (survey.unread_text(), survey.wasted) {
        (Some(unread), _) => format!("wasted bytes not known ({unread})"),
        (None, 0) => "nothing wasted".to_owned(),
        (None, bytes) => format!("{} wasted", size(bytes)),
    };
    let bytes = match (survey.unread.is_empty(), survey.size) {
        (false, 0) => "size of files not known".to_owned(),
        _ => format!("{} of files", survey.size_text()),
    };
    let platform = checked.platform.as_deref().unwrap_or_default();
    let name = format!("{}  {platform}", title(&checked.image, &checked.tag, source));
    ImagePart {
        name: name.trim_end().to_owned(),
        size: survey.known_size(),
        wasted: survey.known_wasted(),
        unread: survey.unread.clone(),
        line: format!("{bytes} in {layers}, {wasted}"),
        facts: image::facts(view, &survey),
        body: [
            image::merged(&survey),
            image::waste(&survey),
            image::layers(&survey, number),
            image::history(view, &survey, number),
        ]
        .concat(),
    }
}

/// Describes an artifact beside images.
fn of_artifact(artifact: &SourceArtifact, checked: &CheckedImage, source: &str) -> ImagePart {
    let description = artifact.description();
    ImagePart {
        name: format!("{}  artifact", title(&checked.image, &checked.tag, source)),
        facts: format!("<p>It {}.</p>\n", escaped(&description, LONGEST_TEXT)),
        line: description,
        ..ImagePart::default()
    }
}

impl Page {
    /// Writes the page.
    pub fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(self.html().as_bytes())
    }

    fn html(&self) -> String {
        let title = match self.images.as_slice() {
            [one] => one.made.name.clone(),
            _ => self.source.clone(),
        };
        let mut html = String::new();
        add(
            &mut html,
            format_args!(
                "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
                 <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
                 <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
                 <title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
                escaped(&title, 300)
            ),
        );
        if self.images.len() > 1 {
            html += "<nav>\n";
            for (number, one) in self.images.iter().enumerate() {
                let name = escaped(&one.made.name, 200);
                add(&mut html, format_args!("<a href=\"#image-{}\">{name}</a>\n", number + 1));
            }
            html += "</nav>\n";
        }
        for (number, one) in self.images.iter().enumerate() {
            write_image(one, number + 1, &mut html);
        }
        html += "<footer>\n";
        if self.left_out > 0 {
            let left = count(self.left_out, "more image is", "more images are");
            add(&mut html, format_args!("<p>{left} not described; ?image=NAME chooses one.</p>\n"));
        }
        add(
            &mut html,
            format_args!(
                "<p>Read from <code>{}</code> by occystrap {}. Sizes are those of the content of files.</p>\n\
                 </footer>\n</body>\n</html>\n",
                escaped(&self.source, 400),
                env!("CARGO_PKG_VERSION")
            ),
        );
        html
    }

    /// Writes a line for each image: what the page says of it.
    pub fn write_text(&self, file: &str, to: &mut dyn Write) -> io::Result<()> {
        for one in &self.images {
            let (part, findings) = (&one.made, &one.checked.findings);
            let errors = count(findings.count(Severity::Error), "error", "errors");
            let line = format!("{}: {}, {errors}", part.name, part.line);
            writeln!(to, "{}", printable(&line))?;
        }
        writeln!(to, "Wrote {}", printable(file))
    }

    /// Writes the same as a JSON document (docs/inspecting.md).
    pub fn write_json(&self, file: &str, to: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Document<'a> {
            source: &'a str,
            page: &'a str,
            images: Vec<Line<'a>>,
            left_out: usize,
        }
        #[derive(Serialize)]
        struct Line<'a> {
            image: &'a str,
            tag: &'a str,
            kind: ViewKind,
            platform: Option<&'a str>,
            size: Option<u64>,
            wasted: Option<u64>,
            unread_layers: &'a [usize],
            status: &'a str,
        }
        let images = self.images.iter().map(|one| Line {
            image: &one.checked.image,
            tag: &one.checked.tag,
            kind: one.checked.kind,
            platform: one.checked.platform.as_deref(),
            size: one.made.size,
            wasted: one.made.wasted,
            unread_layers: &one.made.unread,
            status: one.checked.status(),
        });
        let (images, left_out) = (images.collect(), self.left_out);
        write_json(to, &Document { source: &self.source, page: file, images, left_out })
    }
}

/// Adds an image to a page.
fn write_image(one: &Examined<ImagePart>, number: usize, to: &mut String) {
    let findings = &one.checked.findings;
    add(
        to,
        format_args!(
            "<article id=\"image-{number}\">\n<h1>{}</h1>\n\
             <p><a href=\"#image-{number}-findings\">check</a>: {}</p>\n{}{}<div id=\"image-{number}-findings\">\n{}</div>\n</article>\n",
            escaped(&one.made.name, 300),
            findings::summary(findings),
            one.made.facts,
            one.made.body,
            findings::list(findings)
        ),
    );
}
