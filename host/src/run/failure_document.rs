//! The JSON document of a command that failed before it printed its own: a program that asked for JSON always gets a
//! document. It has the keys of the command's own documents with empty values, and `error`.
//!
//! It refuses to write a second document after a document or a part of one ([`Once`]).

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::{Command, PluginCommand};
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
    /// `plugin test`.
    Report,
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
            Command::Mirror { .. }
            | Command::Plugin { .. }
            | Command::Completions { .. }
            | Command::Man { .. } => return None,
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
            )
        };
        match words.find(known) {
            Some("check" | "info" | "explore" | "search" | "export") => {
                Self::Images { source: String::new() }
            }
            Some("plugin") => match words.find(|word| matches!(*word, "list" | "show" | "test")) {
                Some("list") => Self::Plugins,
                Some("show") => Self::Plugin,
                _ => Self::Report,
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
        }
    }
}

/// Writes the document of a command that failed.
pub fn write(command: &Command, error: &Error, out: &mut dyn Write) -> io::Result<()> {
    Shape::of(command).map_or(Ok(()), |shape| shape.write(error, out))
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
        Shape::Plugins | Shape::Plugin | Shape::Report => {}
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

    /// Returns the writer if nothing was written yet.
    pub fn untouched(&mut self) -> Option<&mut dyn Write> {
        match self.begun {
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
            ("process check -O json", &run),
            ("frobnicate -O json", &run),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(Shape::of_words(&words), *expected, "{line}");
        }
    }
}
