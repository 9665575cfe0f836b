//! `plugins.toml`: the plugins that a user has added, and the permissions of each.
//!
//! What it refuses: other versions, unknown fields, invalid names and schemes, two plugins with one name or one
//! scheme, and a scheme of a built-in plugin.

use serde::{Deserialize, Serialize};

use crate::plugin::description::{is_name, is_scheme};
use crate::plugin::embedded::{built_in, reserved};
use crate::plugin::loaded::Plugin;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::Digest;

/// The version of the record. A reader refuses others.
pub const VERSION: u32 = 1;

/// Largest record, in bytes: an entry has some 600.
pub const LARGEST: u64 = 1024 * 1024;

/// The comment at the top of the file.
const PREAMBLE: &str = "\
# Written by 'occystrap plugin add' and 'occystrap plugin remove'. Components stand beside this
# file, named for their sha256; one with another digest, or that does not fit what stands here, is
# not run.

";

/// The whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// [`VERSION`].
    version: u32,
    #[serde(default, rename = "plugin")]
    plugins: Vec<InstalledPlugin>,
}

/// The entry of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
#[serde(deny_unknown_fields)]
pub struct InstalledPlugin {
    /// Its name, which is unique.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its own summary.
    pub summary: String,
    /// The URI schemes it answers to.
    pub schemes: Vec<String>,
    /// Digest of the component.
    pub sha256: Digest,
    /// The source from which it was added: an absolute path, or `oci://...` without secrets.
    pub source: String,
    /// Names of the component's imports, as it spells them.
    pub imports: Vec<String>,
    /// The interfaces that the user has granted.
    pub granted: Vec<String>,
}

impl Default for Record {
    fn default() -> Self {
        Self { version: VERSION, plugins: Vec::new() }
    }
}

impl Record {
    /// Parses a record; `place` is its name in errors.
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let refuse = |what: &dyn std::fmt::Display| {
            Error::new(Kind::Plugin, format!("'{place}' is not a record of plugins: {what}"))
                .hint("move it away, and add your plugins again")
        };
        // The version is parsed alone first, so that an error about a later version names the version.
        #[derive(Deserialize)]
        #[serde(expecting = "an object")]
        struct Version {
            version: u32,
        }
        let toml = |cause: toml::de::Error| refuse(&cause.message());
        let Version { version } = toml::from_str(text).map_err(toml)?;
        if version != VERSION {
            return Err(refuse(&format_args!("version: expected {VERSION}, found {version}")));
        }
        let raw: Self = toml::from_str(text).map_err(toml)?;
        let mut record = Self::default();
        for entry in raw.plugins {
            if !is_name(&entry.name) || !entry.schemes.iter().all(|scheme| is_scheme(scheme)) {
                let name = &entry.name;
                return Err(refuse(&format_args!("'{name}' has an invalid name or scheme")));
            }
            if record.named(&entry.name).is_some() {
                return Err(refuse(&format_args!("'{}' is there twice", entry.name)));
            }
            record.put(entry).map_err(|error| refuse(&error))?;
        }
        Ok(record)
    }

    /// Renders the record as it is written.
    pub fn render(&self) -> Result<String> {
        let text = toml::to_string(self).map_err(|cause| {
            Error::new(Kind::Plugin, format!("cannot write the record of plugins: {cause}"))
        })?;
        Ok(format!("{PREAMBLE}{text}"))
    }

    /// Returns all entries, in the order of their names.
    #[must_use]
    pub fn plugins(&self) -> &[InstalledPlugin] {
        &self.plugins
    }

    /// Returns the entry with a name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&InstalledPlugin> {
        self.plugins.iter().find(|entry| entry.name == name)
    }

    /// Returns the entry that answers to a scheme.
    #[must_use]
    pub fn for_scheme(&self, scheme: &str) -> Option<&InstalledPlugin> {
        self.plugins.iter().find(|entry| entry.schemes.iter().any(|known| known == scheme))
    }

    /// Checks whether an entry can be added. Errors name what it conflicts with: a built-in plugin's name or
    /// scheme, or another entry with one of its schemes.
    pub fn check(&self, entry: &InstalledPlugin) -> Result<()> {
        let name = &entry.name;
        let taken = |message: String, hint: &str| Err(Error::new(Kind::Plugin, message).hint(hint));
        if built_in(name).is_some() {
            let message = format!("plugin '{name}' has the name of a built-in plugin");
            return taken(message, "an installed plugin needs a name of its own");
        }
        for scheme in &entry.schemes {
            if let Some(whose) = reserved(scheme) {
                let message = format!("plugin '{name}' answers to '{scheme}://', which {whose}");
                return taken(message, "an installed plugin needs schemes of its own");
            }
            let other = self.for_scheme(scheme).filter(|other| other.name != *name);
            if let Some(other) = other {
                let other = &other.name;
                let message = format!(
                    "plugin '{name}' answers to '{scheme}://', which the installed plugin \
                     '{other}' does"
                );
                return taken(message, &format!("'occystrap plugin remove {other}' first"));
            }
        }
        Ok(())
    }

    /// Adds an entry, or replaces that of the same name. Errors as [`Self::check`].
    pub fn put(&mut self, entry: InstalledPlugin) -> Result<()> {
        self.check(&entry)?;
        self.take(&entry.name);
        self.plugins.push(entry);
        self.plugins.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(())
    }

    /// Removes an entry.
    pub fn take(&mut self, name: &str) -> Option<InstalledPlugin> {
        let at = self.plugins.iter().position(|entry| entry.name == name)?;
        Some(self.plugins.remove(at))
    }
}

impl InstalledPlugin {
    /// Returns the entry of a plugin that is granted what it imports.
    #[must_use]
    pub fn of(plugin: &Plugin, source: String) -> Self {
        let description = plugin.description();
        Self {
            name: description.name.clone(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            schemes: description.schemes.clone(),
            sha256: plugin.sha256(),
            source,
            imports: plugin.imports().to_vec(),
            granted: granting(plugin),
        }
    }

    /// Checks whether a plugin is the one that was granted this. The same component can become a different
    /// plugin in another version of occystrap, which understands its imports differently.
    pub fn admit(&self, plugin: &Plugin) -> Result<()> {
        let description = plugin.description();
        let list = |words: &[String]| words.join(" ");
        let facts = [
            ("digest", self.sha256.to_string(), plugin.sha256().to_string()),
            ("name", self.name.clone(), description.name.clone()),
            ("schemes", list(&self.schemes), list(&description.schemes)),
            ("imports", list(&self.imports), list(plugin.imports())),
            ("permissions", list(&self.granted), list(&granting(plugin))),
        ];
        match facts.into_iter().find(|(_, expected, found)| expected != found) {
            None => Ok(()),
            Some((what, expected, found)) => {
                let name = &self.name;
                let message =
                    format!("plugin '{name}': {what}: granted '{expected}', found '{found}'");
                Err(Error::new(Kind::Plugin, message)
                    .hint("this is not what you agreed to: 'occystrap plugin add' asks you again"))
            }
        }
    }
}

/// Returns the interfaces that grant a plugin something.
fn granting(plugin: &Plugin) -> Vec<String> {
    let granting = plugin.permissions().iter().filter(|permission| !permission.words.is_empty());
    granting.map(|permission| permission.interface.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, scheme: &str) -> InstalledPlugin {
        InstalledPlugin {
            name: name.into(),
            version: "1".into(),
            summary: "says \"so\" \u{1b} = [x]".into(),
            schemes: vec![scheme.into()],
            sha256: Digest::of(name.as_bytes()),
            source: "/a b/c'd.wasm".into(),
            imports: vec!["occystrap:output/blobs@0.1.0".into()],
            granted: vec!["blobs".into()],
        }
    }

    #[test]
    fn a_record_is_read_again() {
        let mut record = Record::default();
        record.put(entry("b", "b")).unwrap();
        record.put(entry("a", "a")).unwrap();
        record.put(InstalledPlugin { version: "2".into(), ..entry("b", "bb") }).unwrap();
        let read = Record::parse(&record.render().unwrap(), "x").unwrap();
        assert_eq!(read, record);
        let names: Vec<_> = read.plugins().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(read.for_scheme("bb").unwrap().version, "2");
        assert_eq!(read.for_scheme("b"), None);
        assert_eq!(Record::parse("version = 1", "x").unwrap(), Record::default());
    }

    #[test]
    fn a_name_and_a_scheme_have_one_plugin() {
        let mut record = Record::default();
        record.put(entry("a", "a")).unwrap();
        for (bad, why) in [
            (entry("dir", "x"), "the name of a built-in plugin"),
            (entry("x", "dir"), "the built-in plugin 'dir' does"),
            (entry("x", "file"), "the built-in plugin 'tar' does"),
            (entry("x", "oci"), "keeps for itself"),
            (entry("x", "a"), "the installed plugin 'a' does"),
        ] {
            let error = record.put(bad).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert_eq!(record.plugins().len(), 1);
    }

    #[test]
    fn records_that_are_none() {
        let mut good = Record::default();
        good.put(entry("a", "a")).unwrap();
        let good = good.render().unwrap();
        let twice = good.split_once("[[plugin]]").unwrap().1;
        for (bad, why) in [
            (String::new(), "missing field `version`"),
            ("version = 2".into(), "version: expected 1, found 2"),
            ("version = 2\nnew = true".into(), "version: expected 1, found 2"),
            ("version = 1\nplugin = 3".into(), "invalid type"),
            (good.replace("[[plugin]]", "extra = 1\n[[plugin]]"), "unknown field"),
            (good.replace("name = \"a\"", "name = \"../a\""), "an invalid name or scheme"),
            (good.replace("schemes = [\"a\"]", "schemes = [\"A B\"]"), "an invalid name or scheme"),
            (good.replace("schemes = [\"a\"]", "schemes = [\"tar\"]"), "built-in plugin 'tar'"),
            (good.replace("sha256:", "md5:"), "digest algorithm 'md5'"),
            (format!("{good}[[plugin]]{twice}"), "'a' is there twice"),
            (good.replace("version = 1\n", "version = 1\nversion = 1\n"), "duplicate key"),
        ] {
            let error = Record::parse(&bad, "/x/plugins.toml").expect_err(&bad).to_string();
            assert!(error.starts_with("'/x/plugins.toml' is not a record"), "{error}");
            assert!(error.contains(why), "{why}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_in_a_record_makes_it_panic(text in "(version = 1\n)?(\\[\\[plugin\\]\\]\n)?\\PC*") {
            let _ = Record::parse(&text, "x");
        }
    }
}
