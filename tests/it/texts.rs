//! No code decides from the text of an error or a finding: to reword a message must not change a verdict.
//!
//! The test reads the sources of the crates without their tests, and names each line that compares or parses a message.

use std::path::{Path, PathBuf};

/// What a line looks like that compares or parses a message.
const PATTERNS: &[&str] = &[
    ".message ==",
    ".message !=",
    "message ==",
    ".message.contains(",
    ".message.starts_with(",
    ".message.ends_with(",
    ".message.strip_prefix(",
    ".message.split",
    "message.contains(",
    "message.starts_with(",
    "message.ends_with(",
    ".to_string() ==",
    ".to_string().contains(",
    ".to_string().starts_with(",
    ".to_string().ends_with(",
    "hint.as_deref() ==",
    "hint.as_deref(), Some(",
    "hint_text() ==",
    "hint_text().contains(",
    ".sides().map(|(_, found)| found.parse()",
    ".sides().and_then(|(_, found)| found.parse()",
    "expected.parse::<",
    "found.parse::<",
];

/// Lines that may stay: file, a part of the line, and the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "layer/src/blob/decoder.rs",
        "too much memory",
        "the zstd library reports this error as text alone",
    ),
    (
        "net/src/http/tls.rs",
        "OTHER_USE",
        "the type of the platform verifier's error is private: its text is all there is",
    ),
    (
        "net/src/registry/repository.rs",
        "error.to_string().contains(place)",
        "names the image once in a message; decides nothing else",
    ),
    (
        "output/src/plugin/capability/engine.rs",
        "named.image().to_string() == reference",
        "compares the name of an image, which is no message",
    ),
    (
        "verify/src/receipt/format.rs",
        "digest.to_string() == *reference",
        "compares a digest, which is no message",
    ),
];

fn host() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "target" | "template" | "examples") {
                sources(&path, found);
            }
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_code_compares_or_parses_the_text_of_a_message() {
    let mut files = Vec::new();
    sources(&host(), &mut files);
    files.sort();
    let (mut wrong, mut used) = (Vec::new(), vec![false; ALLOWED.len()]);
    for file in &files {
        let source = std::fs::read_to_string(file).unwrap();
        let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
        let name = file.strip_prefix(host()).unwrap().to_str().unwrap();
        for (number, line) in (1..).zip(source[..end].lines()) {
            let code = line.split("//").next().unwrap_or_default();
            if !PATTERNS.iter().any(|pattern| code.contains(pattern)) {
                continue;
            }
            let allowed =
                ALLOWED.iter().position(|(file, part, _)| *file == name && code.contains(part));
            match allowed {
                Some(at) => used[at] = true,
                None => wrong.push(format!("host/{name}:{number}: {}", line.trim())),
            }
        }
    }
    assert!(files.len() > 200, "{} files", files.len());
    assert!(wrong.is_empty(), "code that compares or parses a message:\n{}", wrong.join("\n"));
    let unused = ALLOWED.iter().zip(used).filter(|(_, used)| !used);
    let unused: Vec<_> =
        unused.map(|(allowed, _)| format!("{}: {}", allowed.0, allowed.1)).collect();
    assert!(unused.is_empty(), "not needed any more:\n{}", unused.join("\n"));
}
