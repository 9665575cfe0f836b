//! The comparison of the plugin interface with its releases: everything that was released still exists, and a plugin
//! that was built against a release can still be linked.
//!
//! `wit/released/VERSION` contains a copy of each release. `tests/fixtures/plugins-VERSION` contains two components
//! that were built against it, and the tests of the host load them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail, ensure};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{ManglingAndAbi, PackageId, Resolve, Stability, WorldId, WorldItem};

use crate::plugins::root;

const HOME: &str = "wit";
const RELEASED: &str = "wit/released";

/// Compares the interface with every release of its track. Fails if a plugin of such a release would not load, and
/// prints the differences.
pub fn check() -> Result<()> {
    let root = root()?;
    let current = root.join(HOME);
    let version = version(&current)?;
    let mut checked = 0;
    for entry in std::fs::read_dir(root.join(RELEASED))? {
        let folder = entry?.path();
        let released = self::version(&folder)?;
        ensure!(folder.ends_with(&released), "'{}' holds {released}", folder.display());
        if track(&released) != track(&version) {
            println!("{released}: another track than {version}, not compared");
            continue;
        }
        let problems = compare(&folder, &current)?;
        for problem in &problems {
            println!("{problem}");
        }
        ensure!(
            problems.is_empty(),
            "plugins of {released} would not load: undo the change, or start a new track \
             (wit/README.md, \"Change the interface\")"
        );
        println!("{released}: plugins that were built against it load with {version}");
        checked += 1;
    }
    ensure!(checked > 0, "'{RELEASED}' has no release of the track of {version}");
    Ok(())
}

/// Keeps a copy of the interface and two components as a release. An existing copy of the same version is replaced
/// only if `again` is set, which is for versions that are not published yet.
pub fn release(again: bool) -> Result<()> {
    let root = root()?;
    let current = root.join(HOME);
    let version = version(&current)?;
    let copy = root.join(RELEASED).join(&version);
    let fixtures = root.join(format!("tests/fixtures/plugins-{version}"));
    for folder in [&copy, &fixtures] {
        ensure!(again || !folder.exists(), "'{}' exists already", folder.display());
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
    }
    for file in files(&current)? {
        std::fs::copy(&file, copy.join(file.file_name().context("a file without a name")?))?;
    }
    std::fs::write(fixtures.join("everything.wasm"), dummy_component(&copy)?)?;
    std::fs::copy(root.join("tests/hostile/hostile.wasm"), fixtures.join("plain.wasm"))?;
    println!("{}\n{}", copy.display(), fixtures.display());
    Ok(())
}

/// Returns the problems of plugins that were built against `old` with a host that offers `new`:
///
/// - an item of `old` that `new` does not have;
/// - an item that changed so that a component would not link;
/// - a new item that plugins would have to export;
/// - a new item whose `@since` names the version of `old` or an earlier one. The copy of that release would not
///   contain it, so no later check would compare it.
///
/// Other new items are no problem.
fn compare(old: &Path, new: &Path) -> Result<Vec<String>> {
    let renamed = RenamedCopy::of(new)?;
    let mut resolve = Resolve::default();
    let (old_package, old_world) = parse(&mut resolve, old)?;
    let (new_package, new_world) = parse(&mut resolve, &renamed.0)?;
    let (before, now) = (names(&resolve, old_package), names(&resolve, new_package));
    let gone = before.keys().filter(|name| !now.contains_key(*name));
    let mut problems: Vec<String> = gone.map(|name| format!("gone: {name}")).collect();
    let new = || now.iter().filter(|(name, _)| !before.contains_key(*name));
    let exports = new().filter(|(name, _)| must_be_exported(&resolve, new_world, name));
    problems.extend(exports.map(|(name, _)| format!("plugins have to export it: {name}")));
    let released = resolve.packages[old_package].name.version.clone();
    let unrecorded = new().filter(|(_, stability)| match stability {
        Stability::Stable { since, .. } => Some(since) <= released.as_ref(),
        // Every new item must state its version.
        Stability::Unknown | Stability::Unstable { .. } => true,
    });
    problems.extend(unrecorded.map(|(name, _)| format!("not in the released copy: {name}")));
    if problems.is_empty() {
        let linkable = wit_component::semver_check(resolve, old_world, new_world);
        problems.extend(linkable.err().map(|cause| format!("changed: {cause:#}")));
    }
    Ok(problems)
}

/// A temporary copy of an interface under a version that no release has, so that both fit into one [`Resolve`]. It is
/// deleted when this value is dropped.
struct RenamedCopy(PathBuf);

impl RenamedCopy {
    fn of(original: &Path) -> Result<Self> {
        let folder = Self(temporary_folder()?);
        let declared = format!("@{};", version(original)?);
        for file in files(original)? {
            let text = std::fs::read_to_string(&file)?.replace(&declared, "@9999.0.0;");
            let name = file.file_name().context("a file without a name")?;
            std::fs::write(folder.0.join(name), text)?;
        }
        Ok(folder)
    }
}

impl Drop for RenamedCopy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn temporary_folder() -> Result<PathBuf> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("occystrap-wit-{}-{count}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// Returns a component that imports every function and exports what a plugin exports. Its functions only crash: if
/// a call reaches one, the component could be linked.
fn dummy_component(wit: &Path) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (_, world) = parse(&mut resolve, wit)?;
    let mut module = wit_component::dummy_module(&resolve, world, ManglingAndAbi::Standard32);
    let utf8 = StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, utf8, false)?;
    ComponentEncoder::default().validate(true).module(&module)?.encode()
}

fn parse(resolve: &mut Resolve, folder: &Path) -> Result<(PackageId, WorldId)> {
    let (package, _) = resolve.push_dir(folder).with_context(|| folder.display().to_string())?;
    let mut worlds = resolve.packages[package].worlds.values();
    match (worlds.next(), worlds.next()) {
        (Some(world), None) => Ok((package, *world)),
        _ => bail!("'{}': one world is expected", folder.display()),
    }
}

fn version(folder: &Path) -> Result<String> {
    let mut resolve = Resolve::default();
    let (package, _) = parse(&mut resolve, folder)?;
    let version = resolve.packages[package].name.version.as_ref();
    Ok(version.with_context(|| format!("'{}' has no version", folder.display()))?.to_string())
}

/// Returns the first two numbers of a version. Versions below 1.0.0 with the same first two numbers are
/// compatible.
fn track(version: &str) -> Option<&str> {
    version.rsplit_once('.').map(|(track, _)| track)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "wit"));
    files.sort();
    Ok(files)
}

/// Returns the name of every item, and the version in which it appeared.
fn names(resolve: &Resolve, package: PackageId) -> BTreeMap<String, Stability> {
    let mut names = BTreeMap::new();
    let package = &resolve.packages[package];
    for (name, interface) in &package.interfaces {
        let interface = &resolve.interfaces[*interface];
        names.insert(format!("interface {name}"), interface.stability.clone());
        for (kind, id) in &interface.types {
            names.insert(format!("type {name}.{kind}"), resolve.types[*id].stability.clone());
        }
        for (call, function) in &interface.functions {
            names.insert(format!("function {name}.{call}"), function.stability.clone());
        }
    }
    for (name, world) in &package.worlds {
        let world = &resolve.worlds[*world];
        for (what, items) in [("import", &world.imports), ("export", &world.exports)] {
            for item in items.values() {
                let (item, stability) = match item {
                    WorldItem::Interface { id, stability, .. } => {
                        (resolve.interfaces[*id].name.as_deref(), stability)
                    }
                    WorldItem::Function(function) => {
                        (Some(function.name.as_str()), &function.stability)
                    }
                    WorldItem::Type { id, .. } => {
                        (resolve.types[*id].name.as_deref(), &resolve.types[*id].stability)
                    }
                };
                let item = item.unwrap_or_default();
                names.insert(format!("{what} {name}.{item}"), stability.clone());
            }
        }
    }
    names
}

/// Returns whether plugins must provide the item with this name: an export, or a function of an exported interface.
fn must_be_exported(resolve: &Resolve, world: WorldId, name: &str) -> bool {
    let exported = |interface: &str| {
        resolve.worlds[world].exports.values().any(|item| match item {
            WorldItem::Interface { id, .. } => {
                resolve.interfaces[*id].name.as_deref() == Some(interface)
            }
            _ => false,
        })
    };
    match name.split_once(' ') {
        Some(("export", _)) => true,
        Some(("function", rest)) => {
            rest.split_once('.').is_some_and(|(interface, _)| exported(interface))
        }
        _ => false,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    type Edit = (&'static str, &'static str, &'static str);

    /// Returns the problems after texts in the files of the released interface were replaced.
    #[track_caller]
    fn problems_after(edits: &[Edit]) -> Vec<String> {
        let released = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(RELEASED);
        let released = released.join("0.1.0");
        let copy = RenamedCopy(temporary_folder().unwrap());
        for original in files(&released).unwrap() {
            // The edited interface is the next version of the track.
            let text = std::fs::read_to_string(&original).unwrap();
            let mut text = text.replace("@0.1.0;", "@0.1.1;");
            for (_, from, to) in edits.iter().filter(|(file, ..)| original.ends_with(file)) {
                assert!(text.contains(from), "'{from}' is not in {}", original.display());
                text = text.replacen(from, to, 1);
            }
            std::fs::write(copy.0.join(original.file_name().unwrap()), text).unwrap();
        }
        compare(&released, &copy.0).unwrap()
    }

    #[test]
    fn the_interface_fits_what_was_released() {
        check().unwrap();
    }

    #[test]
    fn comments_may_change_and_the_host_may_offer_more() {
        let edits: [&[Edit]; 5] = [
            &[("types.wit", "/// Bytes.", "/// Octets.")],
            &[(
                "log.wit",
                "interface log {",
                "interface log {\n  @since(version = 0.1.1)\n  forget: func();",
            )],
            &[(
                "storage.wit",
                "resource directory {",
                "resource directory {\n    @since(version = 0.1.1)\n    forget: func();",
            )],
            &[(
                "types.wit",
                "interface types {",
                "interface types {\n  @since(version = 0.1.1)\n  enum mood { good, bad }",
            )],
            &[
                (
                    "world.wit",
                    "import log;",
                    "import log;\n  @since(version = 0.1.1)\n  import more;",
                ),
                ("log.wit", LOG, MORE),
            ],
        ];
        for edit in edits {
            assert_eq!(problems_after(edit), [""; 0], "{edit:?}");
        }
    }

    const LOG: &str = "@since(version = 0.1.0)\ninterface log {";

    /// The same text, with an interface of the next version before it.
    const MORE: &str = "@since(version = 0.1.1)\n\
                        interface more { @since(version = 0.1.1) more: func(); }\n\
                        @since(version = 0.1.0)\ninterface log {";

    #[test]
    fn an_item_of_a_released_version_must_be_in_its_copy() {
        for (since, edit) in [
            ("@since(version = 0.1.0)", ("log.wit", "interface log {")),
            ("", ("log.wit", "interface log {")),
            ("@since(version = 0.1.0)", ("storage.wit", "resource directory {")),
        ] {
            let (file, at) = edit;
            let to: &'static str = format!("{at}\n  {since}\n  forget: func();").leak();
            let problems = problems_after(&[(file, at, to)]);
            assert!(
                matches!(problems.as_slice(), [one] if one.starts_with("not in the released copy: ")),
                "{since} {edit:?}: {problems:?}"
            );
        }
    }

    #[test]
    fn a_removed_item_is_a_problem() {
        for (edit, gone) in [
            (
                ("world.wit", "  @since(version = 0.1.0)\n  import log;", ""),
                "gone: import output-plugin.log",
            ),
            (("log.wit", "log: func(", "say: func("), "gone: function log.log"),
            (
                ("storage.wit", "    stat: func(", "    look: func("),
                "gone: function storage.[method]directory.stat",
            ),
            (("types.wit", "record mismatch {", "record mismatch2 {"), "gone: type types.mismatch"),
            (("verifier.wit", "verify: func(", "check: func("), "gone: function verifier.verify"),
        ] {
            let mut edits = vec![edit];
            if gone.ends_with("types.mismatch") {
                edits.push((
                    "types.wit",
                    "digest-mismatch(mismatch)",
                    "digest-mismatch(mismatch2)",
                ));
            }
            let problems = problems_after(&edits);
            assert!(problems.iter().any(|line| line == gone), "{gone}: {problems:?}");
        }
    }

    #[test]
    fn a_changed_type_is_a_problem() {
        for edit in [
            ("log.wit", "message: string", "message: list<u8>"),
            ("log.wit", "message: string", "text: string"),
            ("log.wit", "message: string)", "message: string, again: bool)"),
            ("log.wit", "error, warn, info, debug", "error, warn, info, debug, trace"),
            ("log.wit", "error, warn, info, debug", "warn, error, info, debug"),
            ("storage.wit", "offset: u64, len: u32", "offset: u64, len: u64"),
            ("storage.wit", "-> option<string>", "-> string"),
            ("storage.wit", "    size: u64,\n  }", "    size: u64,\n    links: u32,\n  }"),
            ("types.wit", "    unsupported,", "    unsupported,\n    too-late,"),
            ("writer.wit", "    stored,", "    stored,\n    lzma,"),
            ("writer.wit", "    listed: bool,", "    listed: bool,\n    urgent: bool,"),
            ("verifier.wit", "level: level)", "level: level, deep: bool)"),
        ] {
            let problems = problems_after(&[edit]);
            assert!(
                matches!(problems.as_slice(), [one] if one.starts_with("changed: ")),
                "{edit:?}: {problems:?}"
            );
        }
    }

    /// Existing plugins do not export a new item.
    #[test]
    fn a_new_export_is_a_problem() {
        for (edits, demand) in [
            (
                &[("verifier.wit", "  verify: func(", "  repair: func();\n  verify: func(")][..],
                "plugins have to export it: function verifier.repair",
            ),
            (
                &[
                    ("world.wit", "export writer;", "export writer;\n  export more;"),
                    (
                        "log.wit",
                        "interface log {",
                        "interface more { more: func(); }\ninterface log {",
                    ),
                ],
                "plugins have to export it: export output-plugin.more",
            ),
        ] {
            let problems = problems_after(edits);
            assert!(problems.iter().any(|line| line == demand), "{demand}: {problems:?}");
        }
    }
}
