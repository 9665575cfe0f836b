//! The build of the plugins: each crate is compiled to a core module and wrapped as a component, and the lock file
//! records the digests of both.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::inputs;
use crate::lock::{Lock, Plugin};

const TARGET: &str = "wasm32-unknown-unknown";

/// The folder with the crates of all plugins. A crate outside the folder of its workspace would be built to other
/// bytes in every clone.
const WORKSPACE: &str = "plugins";

/// A set of plugins that are built and stored together. Paths are relative to the repository.
struct Set {
    /// The name and the folder of each crate.
    crates: &'static [(&'static str, &'static str)],
    /// The folder for the components and their lock file.
    home: &'static str,
    lock: &'static str,
}

/// The built-in plugins, and the hostile plugins that the tests use.
const SETS: [Set; 2] = [
    Set {
        crates: &[
            ("dir", "plugins/dir"),
            ("docker", "plugins/docker"),
            ("oci-layout", "plugins/oci-layout"),
            ("registry", "plugins/registry"),
            ("tar", "plugins/tar"),
        ],
        home: "host/output/plugins",
        lock: "plugins.lock",
    },
    Set {
        crates: &[
            ("hostile", "plugins/hostile"),
            ("hostile-engine", "plugins/hostile-engine"),
            ("hostile-registry", "plugins/hostile-registry"),
            ("hostile-web", "plugins/hostile-web"),
        ],
        home: "tests/hostile",
        lock: "hostile.lock",
    },
];

/// Builds all plugins and writes the components and the lock files.
pub fn write() -> Result<()> {
    for set in &SETS {
        let folder = root()?.join(set.home);
        std::fs::create_dir_all(&folder)?;
        let (lock, components) = build(set)?;
        for (plugin, component) in lock.plugins.iter().zip(&components) {
            std::fs::write(folder.join(format!("{}.wasm", plugin.name)), component)?;
            let imports = plugin.imports.join(" ");
            println!("{}.wasm  {} bytes  {imports}", plugin.name, component.len());
        }
        std::fs::write(folder.join(set.lock), lock.render()?)?;
    }
    Ok(())
}

/// Builds all plugins and compares them with the committed files, byte for byte.
pub fn check() -> Result<()> {
    for set in &SETS {
        let folder = root()?.join(set.home);
        let (lock, components) = build(set)?;
        for (plugin, component) in lock.plugins.iter().zip(&components) {
            let path = folder.join(format!("{}.wasm", plugin.name));
            let committed = std::fs::read(&path).with_context(|| path.display().to_string())?;
            ensure!(
                committed == *component,
                "'{}.wasm' is out of date: committed {}, built {}; run 'cargo xtask plugins'",
                plugin.name,
                inputs::sha256(&committed),
                plugin.sha256,
            );
        }
        let committed = std::fs::read_to_string(folder.join(set.lock))?;
        ensure!(
            committed == lock.render()?,
            "'{}' is out of date; run 'cargo xtask plugins'",
            set.lock
        );
        println!("{}: {} plugins are up to date", set.home, components.len());
    }
    Ok(())
}

fn build(set: &Set) -> Result<(Lock, Vec<Vec<u8>>)> {
    let root = root()?;
    ensure_target()?;
    compile(&root, set)?;
    let mut plugins = Vec::new();
    let mut components = Vec::new();
    for (name, folder) in set.crates {
        let module = format!("occystrap_{}.wasm", name.replace('-', "_"));
        let module = target_folder(&root).join(TARGET).join("plugin").join(module);
        let module = std::fs::read(&module).with_context(|| module.display().to_string())?;
        let component = wit_component::ComponentEncoder::default()
            .module(&module)
            .and_then(|encoder| encoder.validate(true).encode())
            .with_context(|| format!("wrapping '{name}' as a component"))?;
        plugins.push(Plugin {
            name: (*name).to_owned(),
            sha256: inputs::sha256(&component),
            inputs: inputs::digest(&root, folder, WORKSPACE)?,
            imports: imports(&component)?,
        });
        components.push(component);
    }
    Ok((Lock { rustc: rustc_version()?, plugins }, components))
}

fn compile(root: &Path, set: &Set) -> Result<()> {
    let home = |variable: &str, fallback: &str| {
        std::env::var(variable)
            .unwrap_or_else(|_| format!("{}/{fallback}", std::env::var("HOME").unwrap_or_default()))
    };
    // Panic messages contain paths. The paths are replaced, so that the same source gives the same bytes in
    // every folder.
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let remap = [
        (root.display().to_string(), "occystrap"),
        (home("CARGO_HOME", ".cargo"), "cargo"),
        (sysroot, "rust"),
    ];
    let flags: Vec<String> =
        remap.iter().map(|(from, to)| format!("--remap-path-prefix={from}=/{to}")).collect();
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(root.join(WORKSPACE))
        .args(["build", "--quiet", "--locked", "--profile", "plugin", "--target", TARGET])
        .args(
            set.crates.iter().flat_map(|(name, _)| ["-p".to_owned(), format!("occystrap-{name}")]),
        )
        .arg("--target-dir")
        .arg(target_folder(root))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .env_remove("RUSTFLAGS");
    run(&mut cargo)
}

/// Returns the target folder for plugins. It is separate, because the compiler flags differ from those of every
/// other build.
fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("plugins/target"), PathBuf::from)
        .join("plugins")
}

/// Installs the WebAssembly target if it is missing.
fn ensure_target() -> Result<()> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if !Path::new(&sysroot).join("lib/rustlib").join(TARGET).exists() {
        println!("adding the target {TARGET}: rustup target add {TARGET}");
        run(Command::new("rustup").args(["target", "add", TARGET]))?;
    }
    Ok(())
}

/// Returns the interfaces that a component imports.
fn imports(component: &[u8]) -> Result<Vec<String>> {
    let decoded = wit_component::decode(component)?;
    let resolve = decoded.resolve();
    let wit_component::DecodedWasm::Component(_, world) = decoded else {
        bail!("not a component");
    };
    let imports = resolve.worlds[world].imports.keys();
    Ok(imports.map(|key| resolve.name_world_key(key)).collect())
}

fn rustc_version() -> Result<String> {
    output(Command::new("rustc").arg("--version"))
}

/// Returns the repository in which `cargo xtask` was called. It may differ from the one in which this program was
/// compiled, because several clones can share a target folder, and so this program.
pub fn root() -> Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context("call it as 'cargo xtask'")?;
    Path::new(&here).ancestors().nth(2).map(Path::to_owned).context("the repository's root")
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?} failed");
    Ok(())
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
