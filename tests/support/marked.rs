//! A password that is recognised in all its spellings, and a search for it.

use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use super::cli::{Ran, Sandbox};

pub const USER: &str = "operator";

/// With characters that URIs, forms, JSON and HTML spell otherwise.
pub const PASSWORD: &str = "Hunter2+/S3cret=%&";

/// The parameters of a signed URL.
pub const SIGNATURE: &str = "eyJzaWduYXR1cmUi.S1gnature-Marked_77";

/// In a URI's user part.
pub fn in_uri(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let each = text.bytes().map(|byte| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

fn lower_hex(text: &str) -> String {
    let (mut lower, mut digits) = (String::new(), 0);
    for c in text.chars() {
        digits = if c == '%' { 3usize } else { digits.saturating_sub(1) };
        lower.push(if digits > 0 { c.to_ascii_lowercase() } else { c });
    }
    lower
}

/// The spellings in which servers could return a password.
pub fn spellings(secret: &str) -> Vec<String> {
    let upper = in_uri(secret);
    let pair = format!("{USER}:{secret}");
    let every = |form: fn(u8) -> String| secret.bytes().map(form).collect::<String>();
    vec![
        secret.to_owned(),
        secret.to_lowercase(),
        lower_hex(&upper),
        in_uri(&upper),
        lower_hex(&in_uri(&lower_hex(&upper))),
        url::form_urlencoded::byte_serialize(secret.as_bytes()).collect(),
        secret.replace('/', "\\/"),
        secret.replace('+', "\\u002b"),
        secret.replace('&', "&amp;").replace('+', "&#43;"),
        every(|byte| format!("%{byte:02X}")),
        every(|byte| format!("%{byte:02x}")),
        every(|byte| format!("{byte:02x}")),
        STANDARD.encode(secret),
        STANDARD.encode(&pair),
        STANDARD_NO_PAD.encode(format!("me:{secret}")),
        URL_SAFE_NO_PAD.encode(format!("you:{secret}")),
        URL_SAFE_NO_PAD.encode(secret),
        upper,
    ]
}

/// Returns all of them in one text, which the servers of these tests send.
pub fn echo() -> String {
    spellings(PASSWORD).join(" ")
}

/// The first spelling of a secret that a text has, in any case.
fn shown(text: &[u8]) -> Option<String> {
    static FINDER: LazyLock<(AhoCorasick, Vec<String>)> = LazyLock::new(|| {
        // The rest of a password that was masked in part.
        let parts = ["Hunter2", "S3cret", "S1gnature"].map(str::to_owned);
        let all = spellings(PASSWORD).into_iter().chain(spellings(SIGNATURE)).chain(parts);
        let all: Vec<String> = all.collect();
        let finder = AhoCorasick::builder().ascii_case_insensitive(true).build(&all).unwrap();
        (finder, all)
    });
    FINDER.0.find(text).map(|found| FINDER.1[found.pattern().as_usize()].clone())
}

/// Fails where a secret is in what a run said, or in a file of the sandbox other than `inputs`.
#[track_caller]
pub fn keeps(what: &str, sandbox: &Sandbox, ran: &Ran, inputs: &[&str]) {
    for (place, text) in [("stdout", &ran.stdout), ("stderr", &ran.stderr)] {
        if let Some(spelling) = shown(text.as_bytes()) {
            panic!("{what}: '{spelling}' is in {place}: {text}");
        }
    }
    files(what, &sandbox.path(""), inputs);
}

#[track_caller]
fn files(what: &str, folder: &Path, inputs: &[&str]) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if inputs.contains(&name.as_str()) {
            continue;
        }
        if let Some(spelling) = shown(name.as_bytes()) {
            panic!("{what}: '{spelling}' is in the name of {}", path.display());
        }
        if path.is_dir() {
            files(what, &path, inputs);
        } else if let Some(spelling) = std::fs::read(&path).ok().and_then(|bytes| shown(&bytes)) {
            panic!("{what}: '{spelling}' is in {}", path.display());
        }
    }
}

/// Returns one of the output options, another one each time; with `every`, all of them.
pub fn modes(every: bool) -> Vec<Vec<&'static str>> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let all =
        [vec!["--debug"], vec!["-O", "json", "--debug"], vec!["-v"], vec!["-O", "json"], vec![]];
    match every {
        true => all.to_vec(),
        false => vec![all[NEXT.fetch_add(1, Ordering::Relaxed) % 2].clone()],
    }
}
