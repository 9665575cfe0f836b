//! Builds the component and runs occystrap's conformance kit on it, 'occystrap plugin test'.

use std::path::Path;
use std::process::Command;

#[test]
fn the_component_keeps_the_contract() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .arg("plugin")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .expect("cargo runs");
    assert!(built.success(), "'cargo plugin' failed");

    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target folder");
    let name = format!("{}.wasm", env!("CARGO_PKG_NAME").replace('-', "_"));
    let component = target.join("wasm32-unknown-unknown/release").join(name);
    let occystrap = std::env::var_os("OCCYSTRAP").unwrap_or_else(|| "occystrap".into());
    let tested = Command::new(&occystrap)
        .args(["plugin", "test"])
        .arg(&component)
        .status()
        .expect("'occystrap' is in PATH, or its path is in the variable OCCYSTRAP");
    assert!(tested.success(), "the table above shows the failed checks");
}
