//! Building the plugins: compile to a core module, wrap as a component, record both.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::inputs;
use crate::lock::{Lock, Plugin};

const TARGET: &str = "wasm32-unknown-unknown";

/// Where the crates of all plugins are. A crate outside of its workspace's folder would be built to
/// other bytes in every clone.
const WORKSPACE: &str = "plugins";

/// Plugins that are built and kept together. Paths are relative to the repository.
struct Set {
    /// Name and folder of each crate.
    crates: &'static [(&'static str, &'static str)],
    /// Where the components are kept, with their lock.
    home: &'static str,
    lock: &'static str,
}

/// The binary's own, and those that its tests are attacked with.
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

/// Build all and write them where they are kept.
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

/// Build all and compare with what is committed, byte for byte.
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
    // Paths end up in panic messages; without them the same source gives the same bytes anywhere.
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

/// A folder of its own: the flags differ from those of any other build.
fn target_folder(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("plugins/target"), PathBuf::from)
        .join("plugins")
}

fn ensure_target() -> Result<()> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    if !Path::new(&sysroot).join("lib/rustlib").join(TARGET).exists() {
        println!("adding the target {TARGET}: rustup target add {TARGET}");
        run(Command::new("rustup").args(["target", "add", TARGET]))?;
    }
    Ok(())
}

/// The interfaces that a component imports, without the package's version.
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

/// The repository that `cargo xtask` was called in. Not the one that this was compiled in: clones
/// may share a target folder, and so this binary.
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
