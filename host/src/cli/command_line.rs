//! Parsing the command line, and explaining mistakes in it: those of the environment, and the commands of 0.4.17.
//!
//! It refuses to name an option where the wrong value came from the environment.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::{Cli, asks_for_json, command};
use occystrap_base::error::Error;
use occystrap_base::secret;
use occystrap_base::terminal::shell::quote;
use occystrap_net::uri::{Uri, is_secret_name, logins_in};

/// Commands of 0.4.17 that this version does not have: name, arguments there, what to type now (empty if nothing
/// replaces it yet).
const EARLIER: [(&str, &str, &str); 12] = [
    (
        "recreate-image",
        "PATH IMAGE TAG TARFILE",
        "process 'dir://PATH?image=IMAGE:TAG' tar://TARFILE",
    ),
    (
        "fetch-to-extracted",
        "REGISTRY IMAGE TAG PATH",
        "process registry://REGISTRY/IMAGE:TAG dir://PATH",
    ),
    (
        "fetch-to-tarfile",
        "REGISTRY IMAGE TAG TARFILE",
        "process registry://REGISTRY/IMAGE:TAG tar://TARFILE",
    ),
    ("docker-to-extracted", "IMAGE TAG PATH", "process docker://IMAGE:TAG dir://PATH"),
    ("docker-to-tarfile", "IMAGE TAG TARFILE", "process docker://IMAGE:TAG tar://TARFILE"),
    ("tarfile-to-extracted", "TARFILE PATH", "process tar://TARFILE dir://PATH"),
    ("search-layers", "REGISTRY IMAGE TAG PATTERN", "search registry://REGISTRY/IMAGE:TAG PATTERN"),
    ("search-layers-docker", "IMAGE TAG PATTERN", "search docker://IMAGE:TAG PATTERN"),
    ("search-layers-tarfile", "TARFILE PATTERN", "search tar://TARFILE PATTERN"),
    ("fetch-to-oci", "REGISTRY IMAGE TAG PATH", ""),
    ("docker-to-oci", "IMAGE TAG PATH", ""),
    ("fetch-to-mounts", "REGISTRY IMAGE TAG PATH", ""),
];

/// Options of those commands, and what replaces them.
const EARLIER_OPTIONS: [(&str, &str); 4] = [
    ("--normalize-timestamps", "-f normalize-timestamps"),
    ("--timestamp", "-f normalize-timestamps:ts=SECONDS"),
    ("--use-unique-names", "?unique_names=true on the destination"),
    ("--socket", "?socket=PATH on docker://"),
];

/// Parses the command line. Errors say what is wrong, in clap's words.
pub fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    // Secrets are registered before clap repeats any of them.
    logins(arguments).iter().for_each(|login| secret::keep_own(login));
    let matches = command().try_get_matches_from(arguments)?;
    Cli::from_arg_matches(&matches).map(Cli::settled)
}

/// Returns the secrets of a command line, even of an invalid one: the value of `--password`, and the secrets in each
/// word that looks like a URI.
fn logins(arguments: &[OsString]) -> Vec<String> {
    const PASSWORD: &str = "--password";
    let words: Vec<_> = arguments.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    let mut found = Vec::new();
    let mut before = "";
    for word in &words {
        let value = match word.split_once('=') {
            Some((option, value)) if option.starts_with('-') => {
                let name = option.trim_start_matches('-');
                let is_secret = is_secret_name(name) && !matches!(name, "username" | "user");
                found.extend(is_secret.then(|| value.to_owned()));
                value
            }
            _ => word,
        };
        // Without a space: `--passwordHUNTER2`. If it contains '=', a message may have the part before that.
        if let Some(joined) = word.strip_prefix(PASSWORD).filter(|rest| !rest.starts_with('=')) {
            found.push(joined.to_owned());
            found.extend(joined.split_once('=').map(|(before, _)| before.to_owned()));
        }
        found.extend((before == PASSWORD).then(|| value.to_owned()));
        // A filter has colons and its patterns may have an '@': it is no login.
        let is_filter = matches!(before, "-f" | "--filter") || word.starts_with("-");
        if !is_filter || value.contains("://") {
            found.extend(logins_in(value));
        }
        before = word;
    }
    found.retain(|secret| !secret.is_empty());
    found
}

/// Returns a mistake in clap's words, in colour if standard error is a terminal and the environment permits colour.
#[must_use]
pub fn rendered(mistake: &clap::Error) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    match std::io::stderr().is_terminal() && !plain {
        true => mistake.render().ansi().to_string(),
        false => mistake.render().to_string(),
    }
}

/// Returns the error for an invalid command line where clap's own words do not help.
#[must_use]
pub fn explain(mistake: &clap::Error, arguments: &[OsString]) -> Option<Error> {
    let words = words(arguments);
    earlier(mistake, &words)
        .or_else(|| of_environment(mistake, &words))
        .or_else(|| habit(mistake, &words))
}

/// Returns the error for the JSON document of an invalid command line: `explanation`, or clap's words in one line.
/// `None` if no document was requested.
#[must_use]
pub fn for_document(
    mistake: &clap::Error,
    arguments: &[OsString],
    explanation: Option<&Error>,
) -> Option<Error> {
    let is_requested = mistake.use_stderr() && asks_for_json(&words(arguments));
    let in_words = || Error::usage(in_a_line(&mistake.to_string()));
    is_requested.then(|| explanation.cloned().unwrap_or_else(in_words))
}

/// Returns the words after the name of the program.
#[must_use]
pub fn words(arguments: &[OsString]) -> Vec<String> {
    arguments.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}

fn text(mistake: &clap::Error, kind: ContextKind) -> Option<&str> {
    match mistake.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}

/// Explains a command that only 0.4.17 had.
fn earlier(mistake: &clap::Error, words: &[String]) -> Option<Error> {
    let typed = text(mistake, ContextKind::InvalidSubcommand)
        .filter(|_| mistake.kind() == ErrorKind::InvalidSubcommand)?;
    let (name, arguments, now) = EARLIER.iter().find(|(name, ..)| *name == typed)?;
    if now.is_empty() {
        return Some(Error::usage(format!("'{name}' of 0.4.17 is not supported yet")));
    }
    let message = format!("'{name}' was a command of 0.4.17; this version does not have it");
    let given = |(option, _): &&(&str, &str)| {
        let joined = |word: &String| word.split('=').next() == Some(*option);
        words.iter().any(joined)
    };
    let mut hint = format!("instead, type: occystrap {}", instead(name, arguments, now, words));
    for (option, new) in EARLIER_OPTIONS.iter().filter(given) {
        hint.push_str(&format!("; {option} is {new}"));
    }
    Some(Error::usage(message).hint(hint))
}

/// Explains words that users of other tools type out of habit.
fn habit(mistake: &clap::Error, words: &[String]) -> Option<Error> {
    if text(mistake, ContextKind::InvalidSubcommand) == Some("version") {
        return Some(Error::usage("there is no command 'version'").hint("type --version"));
    }
    let option = text(mistake, ContextKind::InvalidArg).unwrap_or_default();
    if option.starts_with("--receipt") && words.iter().any(|word| word == "verify") {
        return Some(
            Error::usage("'verify' takes receipts as arguments, without an option")
                .hint("type: occystrap verify FILE"),
        );
    }
    let apart = words.windows(2).find_map(|pair| match pair {
        [option, level] if option == "--verify" && matches!(level.as_str(), "fast" | "full") => {
            Some(level)
        }
        _ => None,
    })?;
    let message = format!("'{apart}' after --verify is read as the source");
    Some(Error::usage(message).hint(format!("type --verify={apart}")))
}

/// Returns what to type, with the words that were typed in place of the capitals if their number fits.
fn instead(name: &str, arguments: &str, now: &str, words: &[String]) -> String {
    const WITH_VALUE: [&str; 2] = ["--timestamp", "--socket"];
    /// Options that did not change.
    const KEPT: [&str; 2] = ["--regex", "--script-friendly"];
    let mut after = words.iter().skip_while(|word| *word != name).skip(1);
    let mut given = Vec::new();
    while let Some(word) = after.next() {
        match word.starts_with('-') {
            true if WITH_VALUE.contains(&word.as_str()) => drop(after.next()),
            true => {}
            false => given.push(word.as_str()),
        }
    }
    let places: Vec<&str> = arguments.split(' ').collect();
    if places.len() != given.len() {
        return now.to_owned();
    }
    let filled = now.split(' ').map(|word| {
        let word = word.trim_matches('\'');
        let mut filled = String::new();
        // Words in capitals are placeholders.
        for part in word.split_inclusive(|c: char| !c.is_ascii_uppercase()) {
            let (place, rest) = match part.char_indices().last() {
                Some((at, end)) if !end.is_ascii_uppercase() => part.split_at(at),
                _ => (part, ""),
            };
            let value = places.iter().position(|known| *known == place).map(|at| given[at]);
            filled.push_str(value.unwrap_or(place));
            filled.push_str(rest);
        }
        quote(&Uri::hide(&filled))
    });
    let kept = KEPT.into_iter().filter(|option| words.iter().any(|word| word == option));
    filled.chain(kept.map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

/// Explains a wrong value that comes from an environment variable.
fn of_environment(mistake: &clap::Error, words: &[String]) -> Option<Error> {
    let named = text(mistake, ContextKind::InvalidArg)?;
    let found = text(mistake, ContextKind::InvalidValue)?;
    let long = named.split([' ', '=']).next()?;
    let command = command();
    let argument = command.get_arguments().find(|argument| {
        argument.get_long().is_some_and(|name| long.strip_prefix("--") == Some(name))
    })?;
    let typed = |word: &String| {
        let short = argument.get_short().is_some_and(|short| {
            word.strip_prefix('-').is_some_and(|rest| rest.starts_with(short))
        });
        short || word == long || word.strip_prefix(long).is_some_and(|rest| rest.starts_with('='))
    };
    let variable = argument.get_env()?.to_string_lossy().into_owned();
    let said = std::env::var(&variable).is_ok_and(|value| value == found);
    if !said || words.iter().any(typed) {
        return None;
    }
    let line = in_a_line(&mistake.to_string());
    Some(Error::usage(line.replace(&format!("'{named}'"), &format!("the variable {variable}"))))
}

/// Returns a message of clap in one line, without usage and help, which do not belong in a document.
fn in_a_line(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.starts_with("Usage:"));
    let lines = lines.filter(|line| !line.starts_with("For more information"));
    let lines: Vec<&str> = lines.map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Returns source and destination, as far as an invalid command line shows them.
#[must_use]
pub fn ends(arguments: &[OsString]) -> (String, String) {
    let matches = command().ignore_errors(true).try_get_matches_from(arguments);
    let asked = matches.ok().and_then(|matches| {
        let (name, asked) = matches.subcommand()?;
        Some((name.to_owned(), asked.clone()))
    });
    let Some((name, asked)) = asked else { return Default::default() };
    let end = |id: &str| {
        let found = asked.try_get_many::<String>(id).ok().flatten().into_iter().flatten();
        found.map(|text| Uri::hide(text)).collect::<Vec<_>>().join(" ")
    };
    match name.as_str() {
        "verify" => (end("targets"), end("targets")),
        _ => (end("source"), end("destination")),
    }
}
