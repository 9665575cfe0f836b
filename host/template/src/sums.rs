//! `SHA256SUMS`, as `sha256sum` writes it: a digest, two spaces and a name, one file a line.

use occystrap_plugin::hex;
use occystrap_plugin::writer::{Expectation, Place};

/// The file's name.
pub const NAME: &str = "SHA256SUMS";

/// One line for each file that has a digest.
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
