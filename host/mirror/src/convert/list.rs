//! Lists with a reference a line. References of one repository become one entry.

use super::EXAMPLE_TO;
use super::write::{Draft, MirrorFileWriter, named};
use crate::document::Mark;
use crate::reference;

/// Converts a list.
pub fn convert(text: &str, to: Option<&str>, writer: &mut MirrorFileWriter) {
    destination(to, writer);
    // Repositories in the order of their first lines, with the tags of each.
    let mut repositories = indexed::Groups::default();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let content = line.split('#').next().unwrap_or_default().trim();
        // Some lists are YAML: `- nginx:1.25`.
        let content =
            content.strip_prefix("- ").unwrap_or(content).trim().trim_matches(['"', '\'']);
        if content.is_empty() || content == "---" {
            continue;
        }
        let mark = Mark { line: u32::try_from(index + 1).unwrap_or(u32::MAX), column: 1 };
        match reference::parse(content) {
            Ok(mut found) => {
                let digest = found.digest.take();
                let tag = found.tag.take();
                match (digest, tag) {
                    (None, tag) => repositories.add(
                        mark,
                        found.to_string(),
                        tag.unwrap_or_else(|| "latest".to_owned()),
                    ),
                    (Some(_), _) => {
                        let draft = Draft { from: content.to_owned(), ..Draft::default() };
                        writer.entry(mark, &named("the reference", content), &draft);
                    }
                }
            }
            Err(error) => writer.leave_out(mark, "a line", error.to_string()),
        }
    }
    for (mark, repository, tags) in repositories.into_groups() {
        let draft =
            Draft { from: repository.clone(), rules: vec![("also", tags)], ..Draft::default() };
        writer.entry(mark, &named("the repository", &repository), &draft);
    }
}

/// Sets the destination of all entries.
pub fn destination(to: Option<&str>, writer: &mut MirrorFileWriter) {
    if to.is_none() {
        writer
            .notes
            .push("Replace mirror.example.com: the converted file has no destination.".to_owned());
    }
    writer.default_to = Some(to.unwrap_or(EXAMPLE_TO).to_owned());
}

/// Groups of tags.
mod indexed {
    use std::collections::HashMap;

    use crate::document::Mark;

    /// Tags by repository, in the order of their first lines.
    #[derive(Default)]
    pub struct Groups {
        index: HashMap<String, usize>,
        groups: Vec<(Mark, String, Vec<String>)>,
    }

    impl Groups {
        /// Adds a tag to the group of its repository.
        pub fn add(&mut self, mark: Mark, repository: String, tag: String) {
            let next = self.groups.len();
            let index = *self.index.entry(repository.clone()).or_insert(next);
            match self.groups.get_mut(index) {
                Some((_, _, tags)) => tags.push(tag),
                None => self.groups.push((mark, repository, vec![tag])),
            }
        }

        /// Returns all groups.
        pub fn into_groups(self) -> Vec<(Mark, String, Vec<String>)> {
            self.groups
        }
    }
}
