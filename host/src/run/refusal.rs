//! The document of a command that failed before it had one to print: who reads documents gets one,
//! whatever happens. It has the keys of that command's own documents, with nothing in them, and `error`.
//!
//! What it refuses: to follow a document, or part of one, with another ([`Once`]).

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::{Command, PluginCommand};
use occystrap_base::error::Error;
use occystrap_base::terminal::table::write_json;
use occystrap_net::uri::Uri;
use occystrap_verify::report::Run;

/// What the documents of a command are like.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    /// Of `process` and `verify`: [`Run`].
    Run { source: String, destination: String },
    /// Of `info`, `check` and `search`.
    Images { source: String },
    /// Of `plugin list`.
    Plugins,
    /// Of `plugin show`.
    Plugin,
    /// Of `plugin test`.
    Report,
}

#[derive(Serialize)]
struct Images<'a> {
    source: &'a str,
    images: [(); 0],
    error: &'a Error,
}

#[derive(Serialize)]
struct Plugins<'a> {
    plugins: [(); 0],
    error: &'a Error,
}

#[derive(Serialize)]
struct Plugin<'a> {
    plugin: Option<()>,
    error: &'a Error,
}

#[derive(Serialize)]
struct Report<'a> {
    error: &'a Error,
}

impl Form {
    /// `None` for commands that print no documents.
    fn of(command: &Command) -> Option<Self> {
        let hide = |uri: &String| Uri::hide(uri);
        Some(match command {
            Command::Process(asked) => {
                Self::Run { source: hide(&asked.source), destination: hide(&asked.destination) }
            }
            Command::Verify(asked) => {
                let targets = asked.targets.iter().map(hide).collect::<Vec<_>>().join(" ");
                Self::Run { source: targets.clone(), destination: targets }
            }
            Command::Check(asked) => Self::Images { source: hide(&asked.source) },
            Command::Info(asked) => Self::Images { source: hide(&asked.source) },
            Command::Search(asked) => Self::Images { source: hide(&asked.source) },
            Command::Plugin { command: PluginCommand::List } => Self::Plugins,
            Command::Plugin { command: PluginCommand::Show { .. } } => Self::Plugin,
            Command::Plugin { command: PluginCommand::Test { .. } } => Self::Report,
            Command::Plugin { .. } | Command::Completions { .. } | Command::Man { .. } => {
                return None;
            }
        })
    }

    /// As far as words tell that are no command line. Where they do not, it is like that of `process`.
    fn of_words(words: &[String]) -> Self {
        let mut words = words.iter().map(String::as_str);
        let known = |word: &&str| {
            matches!(*word, "process" | "verify" | "check" | "info" | "search" | "plugin")
        };
        match words.find(known) {
            Some("check" | "info" | "search") => Self::Images { source: String::new() },
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
            Self::Images { source } => write_json(out, &Images { source, images: [], error }),
            Self::Plugins => write_json(out, &Plugins { plugins: [], error }),
            Self::Plugin => write_json(out, &Plugin { plugin: None, error }),
            Self::Report => write_json(out, &Report { error }),
        }
    }
}

/// Say that a command failed.
pub fn write(command: &Command, error: &Error, out: &mut dyn Write) -> io::Result<()> {
    Form::of(command).map_or(Ok(()), |form| form.write(error, out))
}

/// Say that a command line is none. `ends` are source and destination, as far as they are known.
pub fn write_of_words(
    words: &[String],
    ends: (String, String),
    error: &Error,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut form = Form::of_words(words);
    match &mut form {
        Form::Run { source, destination } => (*source, *destination) = ends,
        Form::Images { source } => *source = ends.0,
        Form::Plugins | Form::Plugin | Form::Report => {}
    }
    form.write(error, out)
}

/// Remembers whether anything was written.
pub struct Once<'a> {
    to: &'a mut dyn Write,
    begun: bool,
}

impl<'a> Once<'a> {
    /// Nothing was.
    pub fn new(to: &'a mut dyn Write) -> Self {
        Self { to, begun: false }
    }

    /// Where nothing was written yet.
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
        let images = Form::Images { source: String::new() };
        let run = Form::Run { source: String::new(), destination: String::new() };
        for (line, expected) in [
            ("-O json info --frobnicate", &images),
            ("check -O json", &images),
            ("search x -O json", &images),
            ("plugin -O json list --x", &Form::Plugins),
            ("plugin show -O json", &Form::Plugin),
            ("plugin -O json", &Form::Report),
            ("process check -O json", &run),
            ("frobnicate -O json", &run),
        ] {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(Form::of_words(&words), *expected, "{line}");
        }
    }
}
