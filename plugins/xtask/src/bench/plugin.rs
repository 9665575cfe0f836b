//! Measures a plugin that is not built in: the first run, which compiles it, and later runs.
//!
//! The plugin is the output `tar`, so that both do the same work. It is built without optimisation and with all code of
//! its libraries, so that it is as large as a Rust plugin with many dependencies, and it has another name.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::measure::{Program, Samples};
use super::table::{Table, mib};
use super::{Bench, START_RUNS, image, machine};

/// The smallest size of the component, in bytes. The target is for a component of this size.
const LEAST_SIZE: usize = 1_000_000;

impl Bench {
    /// Measures a one-layer archive with the built-in output, with a large plugin that was added, and with the same
    /// plugin given by `--plugin`.
    pub(super) fn plugin(&self) -> Result<()> {
        let component = component(&self.root, &self.home)?;
        let archive = image::generated(&self.home, "tiny", 10_000)?;
        let source = format!("tar://{}", archive.display());
        let (added, cache) = (self.out.join("plugins"), self.out.join("cache"));
        let base = |folder: &Path| {
            Program::new(&self.ours, &self.log)
                .env("XDG_CACHE_HOME", &cache)
                .env("OCCYSTRAP_PLUGIN_DIR", folder)
        };
        image::fresh(&cache)?;
        let add = base(&added).args(["plugin", "add", "--yes"]).arg(&component).run()?;
        let run = |scheme: &str, plugin: bool, empty: bool| {
            let fresh = image::fresh(&self.out.join("run"))?;
            if empty {
                image::fresh(&cache)?;
            }
            let destination = format!("{scheme}://{}", fresh.join("image.tar").display());
            let program = base(&added).args(["process", &source, &destination]);
            match plugin {
                true => program.arg("--plugin").arg(&component).run(),
                false => program.run(),
            }
        };
        let cases = [("tar", false), ("bench", false), ("bench", true)];
        let mut first = vec![Samples::default(); cases.len()];
        let mut later = first.clone();
        machine::sync_disks();
        for ((scheme, plugin), samples) in cases.iter().zip(&mut first) {
            for _ in 0..START_RUNS {
                samples.push(run(scheme, *plugin, true)?);
            }
        }
        for (scheme, plugin) in cases {
            run(scheme, plugin, false)?;
        }
        // The cases take turns, so that a slow moment affects all of them.
        for round in 0..START_RUNS * cases.len() {
            let case = round % cases.len();
            later[case].push(run(cases[case].0, cases[case].1, false)?);
        }
        let size = std::fs::metadata(&component)?.len();
        let mut table = Table::new(&[
            "ms from start to end",
            "first time",
            "least",
            "later",
            "least",
            "later, more than built in",
            "peak MiB",
        ]);
        let ms = |seconds: f64| format!("{:.1}", seconds * 1000.0);
        let names = ["tar, built in", "the same, 1 MB, added", "the same, --plugin FILE"];
        let built_in = later[0].wall().median;
        for ((name, first), later) in names.iter().zip(&first).zip(&later) {
            table.row(vec![
                (*name).to_owned(),
                ms(first.wall().median),
                ms(first.wall().least),
                ms(later.wall().median),
                ms(later.wall().least),
                ms(later.wall().median - built_in),
                mib(first.peak()),
            ]);
        }
        println!(
            "\nA plugin of {:.2} MB, median of {START_RUNS} ('plugin add' took {} ms):\n\n{table}",
            size as f64 / 1e6,
            ms(add.wall.as_secs_f64())
        );
        Ok(())
    }
}

/// Builds the component, and returns its path.
fn component(root: &Path, home: &Path) -> Result<PathBuf> {
    println!("building the large plugin");
    let folder = image::fresh(&home.join("plugin"))?;
    let plugins = root.join("plugins");
    let source = folder.join("src");
    std::fs::create_dir(&source)?;
    for file in std::fs::read_dir(plugins.join("tar/src"))? {
        let file = file?;
        let text = std::fs::read_to_string(file.path())?;
        // A plugin cannot have the name or the scheme of a built-in plugin.
        let text = match file.file_name() == "lib.rs" {
            true => text.replace("\"tar\"", "\"bench\"").replace(", \"file\".to_owned()", ""),
            false => text,
        };
        std::fs::write(source.join(file.file_name()), text)?;
    }
    let manifest = std::fs::read_to_string(plugins.join("tar/Cargo.toml"))?
        .replace("../", &format!("{}/", plugins.display()))
        .replace("[lints]\nworkspace = true\n", "[workspace]\n")
        .replace("version.workspace = true", "version = \"0.0.0\"")
        .replace("edition.workspace = true", "edition = \"2024\"")
        .replace("rust-version = \"0.0.0\"\n", "")
        .replace("license.workspace = true\n", "");
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    let status = Command::new("cargo")
        .current_dir(&folder)
        .args(["build", "--quiet", "--target", "wasm32-unknown-unknown"])
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("CARGO_PROFILE_DEV_STRIP", "symbols")
        .env("CARGO_ENCODED_RUSTFLAGS", "-Clink-dead-code\u{1f}-Clink-arg=--no-gc-sections")
        .status()?;
    ensure!(status.success(), "cargo build of the large plugin failed");
    let module = folder.join("target/wasm32-unknown-unknown/debug/occystrap_tar.wasm");
    let module = std::fs::read(&module).with_context(|| module.display().to_string())?;
    let component =
        wit_component::ComponentEncoder::default().module(&module)?.validate(true).encode()?;
    let size = component.len();
    ensure!(size >= LEAST_SIZE, "the large plugin has {size} bytes, not {LEAST_SIZE}");
    let path = folder.join("bench.wasm");
    std::fs::write(&path, component)?;
    Ok(path)
}
