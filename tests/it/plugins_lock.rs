//! The committed components belong to their sources, and import what their lock lists. The test needs no WebAssembly
//! target: it compares digests of inputs; CI rebuilds the components (`cargo xtask plugins --check`).

use std::path::Path;

use occystrap_output::plugin::{Plugin, PluginEngine};
use serde_json::Value;

#[path = "../../plugins/xtask/src/inputs.rs"]
mod inputs;

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every plugin of a lock: its name, its component, and what the lock says of it.
fn locked(home: &str, lock: &str) -> Vec<(String, Vec<u8>, Value)> {
    let home = root().join(home);
    let lock = std::fs::read(home.join(lock)).unwrap();
    let lock: Value = serde_json::from_slice(&lock).unwrap();
    let plugins = lock["plugins"].as_array().unwrap().iter();
    plugins
        .map(|plugin| {
            let name = plugin["name"].as_str().unwrap().to_owned();
            let component = std::fs::read(home.join(format!("{name}.wasm"))).unwrap();
            (name, component, plugin.clone())
        })
        .collect()
}

fn up_to_date(home: &str, lock: &str, folder: impl Fn(&str) -> String, workspace: &str) {
    let plugins = locked(home, lock);
    assert!(!plugins.is_empty());
    for (name, component, locked) in plugins {
        let out_of_date = format!("'{name}.wasm' is out of date, run 'cargo xtask plugins'");
        assert_eq!(locked["sha256"], inputs::sha256(&component), "{out_of_date}");
        let inputs = inputs::digest(&root(), &folder(&name), workspace).unwrap();
        assert_eq!(locked["inputs"], inputs, "{out_of_date}");
    }
}

#[test]
fn components_are_up_to_date() {
    up_to_date("host/output/plugins", "plugins.lock", |name| format!("plugins/{name}"), "plugins");
    up_to_date("tests/hostile", "hostile.lock", |name| format!("plugins/{name}"), "plugins");
}

#[test]
fn imports_are_what_the_lock_says_and_nothing_of_anybody_else() {
    let engine = PluginEngine::new().unwrap();
    for (home, lock) in [("host/output/plugins", "plugins.lock"), ("tests/hostile", "hostile.lock")]
    {
        for (name, component, locked) in locked(home, lock) {
            let listed: Vec<&str> = locked["imports"]
                .as_array()
                .unwrap()
                .iter()
                .map(|name| name.as_str().unwrap())
                .collect();
            let component_type =
                wasmtime::component::Component::new(engine.wasmtime(), &component).unwrap();
            let component_type = component_type.component_type();
            let imported: Vec<String> = component_type
                .imports(engine.wasmtime())
                .map(|(name, _)| name.to_owned())
                .collect();
            assert_eq!(imported, listed, "{name}");
            assert!(
                imported.iter().all(|name| name.starts_with("occystrap:output/")),
                "{imported:?}"
            );
            let loaded = Plugin::load(&engine, &name, &component).unwrap();
            assert_eq!(loaded.permissions().len(), imported.len());
        }
    }
}

#[test]
fn first_party_plugins_ask_for_no_more_than_they_need() {
    for (name, _, locked) in locked("host/output/plugins", "plugins.lock") {
        let imports = locked["imports"].to_string();
        // They tell whose name they take away, and which annotations they leave out.
        let logs = matches!(name.as_str(), "dir" | "oci-layout" | "registry");
        assert_eq!(imports.contains("/log@"), logs, "{name}");
        assert!(!imports.contains("wasi"), "{name}: {imports}");
    }
}
