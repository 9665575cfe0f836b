//! The format of `SHA256SUMS`, as `sha256sum` writes it: one line per file, with the digest, two spaces
//! and the name.

use occystrap_plugin::hex;
use occystrap_plugin::writer::{Expectation, Place};

/// The name of the file.
pub const NAME: &str = "SHA256SUMS";

/// Returns the content of `SHA256SUMS`: one line for each file that has a digest.
pub fn render(files: &[Expectation]) -> String {
    let line = |file: &Expectation| match (&file.place, &file.digest) {
        (Place::File(path), Some(digest)) => Some(format!("{}  {path}\n", hex(digest))),
        _ => None,
    };
    files.iter().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use occystrap_plugin::writer::Role;

    #[test]
    fn a_line_is_what_sha256sum_writes() {
        let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let file = Expectation {
            role: Role::Config,
            place: Place::File("empty".to_owned()),
            size: Some(0),
            digest: Some(format!("sha256:{digest}")),
        };
        assert_eq!(render(&[file]), format!("{digest}  empty\n"));
    }
}
