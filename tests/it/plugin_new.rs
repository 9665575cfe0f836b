//! `occystrap plugin new`: what it writes, and where it refuses to write. The CI run, which has a network, tries that the
//! crate builds and passes its test.

use crate::support::cli::Sandbox;

#[test]
fn a_crate_with_the_sdk_and_the_interface() {
    let sandbox = Sandbox::new();
    let said = sandbox.run(&["plugin", "new", "my-output"]);
    said.exits(0);
    insta::assert_snapshot!(said.stdout);
    let tree = sandbox.tree("my-output");
    let names: Vec<&str> =
        tree.keys().map(String::as_str).filter(|name| !name.ends_with('/')).collect();
    insta::assert_snapshot!(names.join("\n"));
    let read = |name: &str| std::fs::read_to_string(sandbox.path("my-output").join(name)).unwrap();
    assert!(read("Cargo.toml").contains("name = \"my-output\""));
    assert!(read("README.md").contains("my_output.wasm"));
    for name in names {
        // No placeholder is left.
        assert!(!read(name).contains("@NAME@") && !read(name).contains("@VERSION@"), "{name}");
    }
}

#[test]
fn nothing_is_written_over() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path("work")).unwrap();
    sandbox.run(&["plugin", "new", "one", "--path", "work"]).exits(0);
    let before = sandbox.tree("work");
    sandbox
        .run(&["plugin", "new", "two", "--path", "work"])
        .exits(2)
        .says("the folder 'work' has something in it");
    assert_eq!(sandbox.tree("work"), before);
    std::fs::write(sandbox.path("file"), "").unwrap();
    sandbox.run(&["plugin", "new", "two", "--path", "file"]).exits(1).says("'file'");
}

#[test]
fn names_that_are_none() {
    let sandbox = Sandbox::new();
    for (name, why) in [
        ("My Output", "is not a name for a plugin"),
        ("../up", "is not a name for a plugin"),
        ("registry", "a scheme of the built-in plugin 'registry'"),
        ("directory", "a scheme of the built-in plugin 'dir'"),
        ("test", "is reserved by Rust"),
    ] {
        sandbox.run(&["plugin", "new", name]).exits(2).says(why);
    }
    sandbox.assert_clean();
}
