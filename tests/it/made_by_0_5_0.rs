//! Files that release 0.5.0 wrote still work: a receipt, a layer cache, a record of added plugins and a receipt of an
//! added plugin. `tests/fixtures/README.md` says how they were made.

use std::fs::{Permissions, create_dir_all, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::support::cli::Sandbox;

/// The folder in which 0.5.0 ran. Receipts name it.
const FOLDER: &str = "/tmp/occystrap-0.5.0";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(name)
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        create_dir_all(to).unwrap();
        for entry in from.read_dir().unwrap() {
            let from = entry.unwrap().path();
            copy(&from, &to.join(from.file_name().unwrap()));
        }
    } else {
        std::fs::write(to, std::fs::read(from).unwrap()).unwrap();
    }
}

/// A sandbox with the layout and the image archive at the places that receipts name, as 0.5.0 left them.
fn as_it_was() -> Sandbox {
    let sandbox = Sandbox::new();
    copy(&fixture("0.5.0/layout"), &sandbox.path("layout"));
    copy(&fixture("hello.tar"), &sandbox.path("hello.tar"));
    sandbox
}

/// The receipt of that name, about the sandbox instead of [`FOLDER`].
fn receipt(sandbox: &Sandbox, name: &str) -> String {
    let text = std::fs::read_to_string(fixture("0.5.0").join(name)).unwrap();
    assert!(text.contains(FOLDER));
    let here = sandbox.path("").display().to_string();
    let path = sandbox.path(name);
    std::fs::write(&path, text.replace(FOLDER, here.trim_end_matches('/'))).unwrap();
    path.display().to_string()
}

#[test]
fn its_receipt_verifies_what_it_wrote() {
    let sandbox = as_it_was();
    let receipt = receipt(&sandbox, "layout.receipt");
    sandbox.run(&["verify", &receipt]).verified();
    sandbox.run(&["verify", "--full", &receipt]).verified();
    let root = sandbox.path("").display().to_string();
    sandbox.run(&["verify", "--untrusted", "--root", &root, &receipt]).exits(0);

    let blobs = sandbox.path("layout/blobs/sha256");
    let largest = |path: &PathBuf| path.metadata().unwrap().len();
    let blobs = blobs.read_dir().unwrap().map(|blob| blob.unwrap().path());
    let layer = blobs.max_by_key(largest).unwrap();
    let mut bytes = std::fs::read(&layer).unwrap();
    bytes[10_000] ^= 1;
    std::fs::write(&layer, bytes).unwrap();
    sandbox.run(&["verify", "--full", &receipt]).exits(1).says("expected sha256:");
}

/// The command in a receipt restores what it is about.
#[test]
fn its_receipt_says_how_to_repair_what_it_wrote() {
    let sandbox = as_it_was();
    let receipt = receipt(&sandbox, "layout.receipt");
    std::fs::remove_dir_all(sandbox.path("layout/blobs")).unwrap();
    let (from, to) = (sandbox.uri("tar", "hello.tar"), sandbox.uri("oci-layout", "layout"));
    let command = format!("occystrap process -f normalize-timestamps:ts=7 {from} {to}");
    sandbox.run(&["verify", &receipt]).exits(1).says(&command);
}

/// A layer of which the cache has an entry is not filtered again. Another spelling of tar or another encoder changes
/// the keys of entries on purpose: then 0.5.0's are not used any more, and this test ends with the first assertion.
#[test]
fn its_layer_cache_is_used() {
    let sandbox = as_it_was();
    copy(&fixture("0.5.0/layer-cache"), &sandbox.path("layer-cache"));
    let (from, to) = (sandbox.uri("tar", "hello.tar"), sandbox.uri("oci-layout", "layout"));
    let cache = sandbox.path("layer-cache").display().to_string();
    let more = ["-v", "--verify=full", "-f", "normalize-timestamps:ts=7", "--layer-cache", &cache];
    let before = sandbox.tree("layout");
    let ran = sandbox.process(&from, &to, &more);
    ran.verified();
    assert!(!ran.stderr.contains("is damaged"), "{}", ran.stderr);
    assert_eq!(
        ran.stderr.matches(": the destination has it already, as sha256:").count(),
        3,
        "{}",
        ran.stderr
    );
    assert_eq!(sandbox.tree("layout"), before);
}

#[test]
fn its_record_of_plugins_and_a_receipt_of_one_are_read() {
    let sandbox = as_it_was();
    let folder = sandbox.path("home/.local/share/occystrap/plugins");
    create_dir_all(&folder).unwrap();
    copy(&fixture("0.5.0/plugins.toml"), &folder.join("plugins.toml"));
    let component = std::fs::read(fixture("plugins-0.1.0/plain.wasm")).unwrap();
    let digest = occystrap_base::oci::Digest::of(&component);
    let component_file = folder.join(format!("{}.wasm", digest.hex()));
    std::fs::write(&component_file, component).unwrap();
    set_permissions(&folder, Permissions::from_mode(0o755)).unwrap();
    set_permissions(folder.join("plugins.toml"), Permissions::from_mode(0o644)).unwrap();

    let shown = sandbox.run(&["plugin", "show", "hostile"]);
    shown.exits(0);
    assert!(shown.stdout.contains("/tmp/occystrap-0.5.0/plain.wasm"), "{}", shown.stdout);
    // The same component and the same image are the same bytes, whichever release runs it.
    let (from, to) = (sandbox.uri("tar", "hello.tar"), sandbox.uri("hostile", "out"));
    sandbox.process(&from, &to, &[]).verified();
    let receipt = receipt(&sandbox, "plugin.receipt");
    sandbox.run(&["verify", "--full", &receipt]).verified();

    // The record is one that this version changes.
    sandbox.run(&["plugin", "remove", "hostile"]).exits(0);
    assert!(!component_file.exists());
    sandbox.run(&["verify", &receipt]).exits(3).says("which is not installed");
}
