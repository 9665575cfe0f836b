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

/// Returns command lines with typing mistakes, each with the password as it is and as a URI spells it.
pub fn slips(password: &str) -> Vec<Vec<String>> {
    let p = password;
    let lines = [
        format!("process|tar:///x|registry://h/x?pass={p}"),
        format!("process|tar:///x|registry://h/x?pwd={p}"),
        format!("process|tar:///x|registry://h/x?apikey={p}"),
        format!("process|tar:///x|registry://h/x?pasword={p}"),
        format!("process|tar:///x|registry://h/x?{p}"),
        format!("process|tar:///x|registry://h/x?{p}=1"),
        format!("process|tar:///x|registry://h/x?password={p}&bogus=1"),
        format!("process|tar:///x|registry://h/x?password=x&password={p}"),
        format!("process|tar:///x|webdav://me:{p}@h/x"),
        format!("process|tar:///x|dir://me:{p}@h/x?bogus=1"),
        format!("process|tar:///x|https://me:{p}@h/x:1"),
        format!("process|https://me:{p}@h/x:1|dir:///x"),
        format!("process|me:{p}@h/x|dir:///x"),
        format!("process|registry:me:{p}@h/x|dir:///x"),
        format!("process|registri://me:{p}@h/x|dir:///x"),
        format!("process|tar:///x|dir:///y|registry://me:{p}@h/x"),
        format!("process|--nonsense=registry://me:{p}@h/x|tar:///x|dir:///y"),
        format!("process|--pasword={p}|tar:///x|dir:///y"),
        format!("process|--password{p}|tar:///x|dir:///y"),
        format!("info|registry://h/x:1&password={p}"),
        format!("info|registry://h/x#passwd={p}"),
        format!("process|tar:///x;token={p}|dir:///y"),
        format!("process|tar:///x,secret={p}|dir:///y"),
        format!("verify|x&password={p}"),
        format!("info|registry://me:12345?{p}@h/x"),
        format!("info|registry://me:12345/x?{p}=1@h/x"),
        format!("info|registry:///me:p@ss?{p}@h/x"),
        format!("info|tar://me:p@ss?{p}@h/x"),
        format!("info|dir://me:p@ss?{p}@h/x"),
        format!("info|docker://x?socket=tcp://me:12345?{p}@h:1"),
        format!("info|docker://x?socket=t p://me:{p}@h:1"),
        format!("process|--password={p}|--parallel=https://me:{p}@h|tar:///x|dir:///y"),
        format!("process|--plugin|oci://me:{p}@h/x|tar:///x|dir:///y"),
        format!("process|--plugin|oci://me:{p}@h/x|tar:///x|hostile:///y"),
        format!("process|--authfile|https://me:{p}@h/x|tar:///x|registry://h/y"),
        format!("process|--receipt|https://me:{p}@h/x|tar:///x|dir:///y"),
        format!("process|--layer-cache|https://me:{p}@h/x|tar:///x|dir:///y"),
        format!("process|--temp-dir|https://me:{p}@h/x|tar:///x|dir:///y"),
        format!("process|--allow-net|me:{p}@h|tar:///x|dir:///y"),
        format!("process|-f|inspect:file=https://me:{p}@h/x|tar:///x|dir:///y"),
        format!("process|-f|https://me:{p}@h/x|tar:///x|dir:///y"),
        format!("search|tar:///x|https://me:{p}@h/x|extra"),
        format!("fetch-to-tarfile|https://me:{p}@h|x|latest|y.tar"),
        format!("https://me:{p}@h"),
        format!("info|registry://me@{p}@h/x"),
        format!("info|registry://me:{p}?@h/x"),
        format!("info|registry://{p}@h/x"),
        format!("info|docker://me:{p}@h/x"),
        format!("info|docker://x?socket=tcp://me:{p}@h:1"),
        format!("info|tar://me:{p}@h/x"),
        format!("check|oci-layout://me:{p}@h/x"),
        format!("search|registry://me:{p}@/x|y"),
        format!("verify|registry://me:{p}@h:port/x"),
        format!("verify|me:{p}@h/x"),
        format!("verify|--allow-net|https://me:{p}@h/|x"),
        format!("verify|--untrusted|--allow-net|https://h/?token={p}|x"),
        format!("verify|--untrusted|registry://me:{p}@h/x"),
        format!("plugin|show|oci://me:{p}@h/x:1"),
        format!("plugin|add|oci://me:{p}@h/x:1"),
        format!("plugin|test|oci://me:{p}@h/x:1"),
        format!("plugin|remove|oci://me:{p}@h/x:1"),
    ];
    lines.iter().map(|line| line.split('|').map(str::to_owned).collect()).collect()
}
