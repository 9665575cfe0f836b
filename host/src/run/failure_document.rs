//! The JSON document of a command that failed before it printed its own: a program that asked for JSON always gets a
//! document. It has the keys of the command's own documents with empty values, and `error`.
//!
//! It refuses to write a second document after a document or a part of one ([`Once`]).

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::{Command, MirrorCommand, PluginCommand};
use crate::mirror;
use crate::mirror::documents::ProofCommand;
use occystrap_base::error::Error;
use occystrap_base::terminal::table::write_json;
use occystrap_net::uri::Uri;
use occystrap_verify::report::Run;

/// Shape of the documents of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Shape {
    /// `process` and `verify`: [`Run`].
    Run { source: String, destination: String },
    /// `info`, `check`, `explore`, `search` and `export`.
    Images { source: String },
    /// `plugin list`.
    Plugins,
    /// `plugin show`.
    Plugin,
    /// `plugin test`, `mirror export` and `proxy`.
    Report,
    /// `mirror run`, `retry`, `status`, `report`.
    Mirror { mirror: String },
    /// `mirror plan`.
    MirrorPlan { mirror: String },
    /// `mirror verify`, `repair`, `prune`.
    MirrorProof { command: ProofCommand, mirror: String },
}

#[derive(Serialize)]
struct ImagesDocument<'a> {
    source: &'a str,
    images: [(); 0],
    error: &'a Error,
}

#[derive(Serialize)]
struct PluginsDocument<'a> {
    plugins: [(); 0],
    error: &'a Error,
}

#[derive(Serialize)]
struct PluginDocument<'a> {
    plugin: Option<()>,
    error: &'a Error,
}

#[derive(Serialize)]
struct ReportDocument<'a> {
    error: &'a Error,
}

impl Shape {
    /// Returns the shape; `None` for commands that print no documents.
    fn of(command: &Command) -> Option<Self> {
        let hide = |uri: &String| Uri::hide(uri);
        Some(match command {
            Command::Process(options) => {
                Self::Run { source: hide(&options.source), destination: hide(&options.destination) }
            }
            Command::Verify(options) => {
                let targets = options.targets.iter().map(hide).collect::<Vec<_>>().join(" ");
                Self::Run { source: targets.clone(), destination: targets }
            }
            Command::Check(options) => Self::Images { source: hide(&options.source) },
            Command::Info(options) => Self::Images { source: hide(&options.source) },
            Command::Explore(options) => Self::Images { source: hide(&options.source) },
            Command::Search(options) => Self::Images { source: hide(&options.source) },
            Command::Export(options) => Self::Images { source: hide(&options.source) },
            Command::Plugin { command: PluginCommand::List } => Self::Plugins,
            Command::Plugin { command: PluginCommand::Show { .. } } => Self::Plugin,
            Command::Plugin { command: PluginCommand::Test { .. } } => Self::Report,
            Command::Mirror { command: MirrorCommand::Export(_) } | Command::Proxy(_) => {
                Self::Report
            }
            Command::Mirror { command } => {
                let mirror = mirror_name(command)?;
                match command {
                    MirrorCommand::Plan(_) => Self::MirrorPlan { mirror },
                    MirrorCommand::Verify(_) => {
                        Self::MirrorProof { command: ProofCommand::Verify, mirror }
                    }
                    MirrorCommand::Repair(_) => {
                        Self::MirrorProof { command: ProofCommand::Repair, mirror }
                    }
                    MirrorCommand::Prune(_) => {
                        Self::MirrorProof { command: ProofCommand::Prune, mirror }
                    }
                    _ => Self::Mirror { mirror },
                }
            }
            Command::Plugin { .. } | Command::Completions { .. } | Command::Man { .. } => {
                return None;
            }
        })
    }

    /// Returns the shape for words that are no valid command line, as far as they name a command; otherwise that of
    /// `process`.
    fn of_words(words: &[String]) -> Self {
        let mut words = words.iter().map(String::as_str);
        let known = |word: &&str| {
            matches!(
                *word,
                "process"
                    | "verify"
                    | "check"
                    | "info"
                    | "explore"
                    | "search"
                    | "export"
                    | "plugin"
                    | "mirror"
            )
        };
        let is_of_mirror = |word: &&str| {
            matches!(
                *word,
                "plan" | "run" | "retry" | "status" | "report" | "verify" | "repair" | "prune"
            )
        };
        let proof = |command| Self::MirrorProof { command, mirror: String::new() };
        match words.find(known) {
            Some("check" | "info" | "explore" | "search" | "export") => {
                Self::Images { source: String::new() }
            }
            Some("plugin") => match words.find(|word| matches!(*word, "list" | "show" | "test")) {
                Some("list") => Self::Plugins,
                Some("show") => Self::Plugin,
                _ => Self::Report,
            },
            Some("mirror") => match words.find(is_of_mirror) {
                Some("plan") => Self::MirrorPlan { mirror: String::new() },
                Some("verify") => proof(ProofCommand::Verify),
                Some("repair") => proof(ProofCommand::Repair),
                Some("prune") => proof(ProofCommand::Prune),
                _ => Self::Mirror { mirror: String::new() },
            },
            _ => Self::Run { source: String::new(), destination: String::new() },
        }
    }

    fn write(&self, error: &Error, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Run { source, destination } => {
                Run::refused(source, destination, error.clone()).write_json(out)
            }
            Self::Images { source } => {
                write_json(out, &ImagesDocument { source, images: [], error })
            }
            Self::Plugins => write_json(out, &PluginsDocument { plugins: [], error }),
            Self::Plugin => write_json(out, &PluginDocument { plugin: None, error }),
            Self::Report => write_json(out, &ReportDocument { error }),
            Self::Mirror { mirror } => mirror::report::json::write_empty(mirror, Some(error), out),
            Self::MirrorPlan { mirror } => {
                mirror::preview::Preview::default().write_json(mirror, None, Some(error), out)
            }
            Self::MirrorProof { command, mirror } => {
                mirror::documents::write_failed(*command, mirror, error, out)
            }
        }
    }
}

/// Writes the document of a command that failed, on one line where the command prints lines.
pub fn write(
    command: &Command,
    error: &Error,
    is_line: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let Some(shape) = Shape::of(command) else { return Ok(()) };
    if !is_line {
        return shape.write(error, out);
    }
    let mut document = Vec::new();
    shape.write(error, &mut document)?;
    // A newline in a string is escaped: each one is between two parts, followed by the spaces of its line.
    let text = String::from_utf8_lossy(&document);
    let joined: String = text.lines().map(str::trim_start).collect();
    writeln!(out, "{joined}")
}

/// Returns the name of the mirror that a command is about; `None` for one that prints no document.
fn mirror_name(command: &MirrorCommand) -> Option<String> {
    let options = match command {
        MirrorCommand::Plan(options) => &options.mirror,
        MirrorCommand::Run(options) | MirrorCommand::Retry(options) => &options.mirror,
        MirrorCommand::Status(options) => &options.mirror,
        MirrorCommand::Report(options) => &options.mirror,
        MirrorCommand::Verify(options) => &options.mirror,
        MirrorCommand::Repair(options) => &options.mirror,
        MirrorCommand::Prune(options) => &options.mirror,
        // The mirror is named in the export, which could not be read.
        MirrorCommand::Import(_) => return Some(String::new()),
        MirrorCommand::From(_) | MirrorCommand::Export(_) => return None,
    };
    let name = options.file.file_name().unwrap_or(options.file.as_os_str());
    Some(name.to_string_lossy().into_owned())
}

/// Writes the document of an invalid command line. `ends` are source and destination, as far as they are known.
pub fn write_of_words(
    words: &[String],
    ends: (String, String),
    error: &Error,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut shape = Shape::of_words(words);
    match &mut shape {
        Shape::Run { source, destination } => (*source, *destination) = ends,
        Shape::Images { source } => *source = ends.0,
        Shape::Plugins
        | Shape::Plugin
        | Shape::Report
        | Shape::Mirror { .. }
        | Shape::MirrorPlan { .. }
        | Shape::MirrorProof { .. } => {}
    }
    shape.write(error, out)
}

/// Writer that remembers whether anything was written.
pub struct Once<'a> {
    to: &'a mut dyn Write,
    begun: bool,
}

impl<'a> Once<'a> {
    /// Wraps a writer that has written nothing.
    pub fn new(to: &'a mut dyn Write) -> Self {
        Self { to, begun: false }
    }

    /// Returns the writer for the document of a failure: if nothing was written yet, or if what was written are lines, of
    /// which each is a document.
    pub fn for_failure(&mut self, is_lines: bool) -> Option<&mut dyn Write> {
        match self.begun && !is_lines {
            true => None,
            false => Some(&mut *self.to),
        }
    }
}

impl Write for Once<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.begun = true;
        self.to.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_what_document_was_wanted() {
        let images = Shape::Images { source: String::new() };
        let run = Shape::Run { source: String::new(), destination: String::new() };
        for (line, expected) in [
            ("-O json info --frobnicate", &images),
            ("check -O json", &images),
            ("search x -O json", &images),
            ("plugin -O json list --x", &Shape::Plugins),
            ("plugin show -O json", &Shape::Plugin),
            ("plugin -O json", &Shape::Report),
            ("mirror -O json plan x", &Shape::MirrorPlan { mirror: String::new() }),
            ("mirror run -O jsonl", &Shape::Mirror { mirror: String::new() }),
            (
                "mirror repair -O json",
                &Shape::MirrorProof { command: ProofCommand::Repair, mirror: String::new() },
            ),
            ("process check -O json", &run),
            ("frobnicate -O json", &run),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(Shape::of_words(&words), *expected, "{line}");
        }
    }
}
