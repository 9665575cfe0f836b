use super::*;
use crate::plugin::embedded::EMBEDDED;

/// A component from its text.
fn component(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(component {text})")).unwrap()
}

#[track_caller]
fn refused(text: &str, rule: &str) {
    let error = count("test", &component(text)).unwrap_err();
    assert!(error.to_string().contains(rule), "{error}");
    assert!(error.hint_text().is_some());
}

/// A component that doubles its instances with each of its levels.
fn doubling(levels: usize, inner: &str) -> String {
    (0..levels).fold(inner.to_owned(), |inner, _| {
        format!("(component {inner}) (instance (instantiate 0)) (instance (instantiate 0))")
    })
}

#[test]
fn built_in_plugins_stay_far_below_every_limit() {
    for plugin in EMBEDDED {
        let counts = count(plugin.name, plugin.component).unwrap();
        assert!(counts.imports.iter().any(|name| name.starts_with("occystrap:output/")));
        assert!(counts.instances < 30 && counts.steps < 1_000, "{counts:?}");
        assert!(counts.functions < 1_000 && counts.fields < 2_000, "{counts:?}");
    }
}

#[test]
fn instances_are_multiplied_along_the_nesting() {
    let module = "(core module) (core instance (instantiate 0))";
    assert_eq!(count("test", &component(module)).unwrap().instances, 1);
    // Each level has two components and twice the instances of the one below.
    let counts = count("test", &component(&doubling(3, module))).unwrap();
    assert_eq!((counts.instances, counts.components, counts.modules), (22, 3, 1));
    refused(&doubling(22, module), "instances along its nesting: expected at most 1000, found");
    refused(&doubling(70, module), "instances along its nesting");
    refused(&doubling(70, ""), "instances along its nesting");
}

#[test]
fn components_of_an_outer_component_are_counted_as_well() {
    let inner = "(component $inner (core module) (core instance (instantiate 0)))";
    let alias = "(component (alias outer 1 0 (component $c)) (instance (instantiate $c)))";
    let counts = count("test", &component(&format!("{inner} {alias} (instance (instantiate 1))")));
    assert_eq!(counts.unwrap().instances, 3);
    let module = "(core module $m)";
    let alias = "(component (alias outer 1 0 (core module $c)) (core instance (instantiate $c)))";
    let counts = count("test", &component(&format!("{module} {alias} (instance (instantiate 0))")));
    assert_eq!(counts.unwrap().instances, 2);
    // An export is another index of the same thing.
    let export = "(export \"x\" (component 0)) (instance (instantiate 1))";
    let counts = count("test", &component(&format!("{inner} {export}")));
    assert_eq!(counts.unwrap().instances, 2);
}

#[test]
fn modules_and_components_are_no_arguments() {
    refused("(component (import \"a\" (core module)))", "passes modules as arguments");
    refused("(component (import \"a\" (component)))", "passes components as arguments");
    let exporting = "(component (core module) (export \"m\" (core module 0)))";
    let alias = "(instance (instantiate 0)) (alias export 0 \"m\" (core module))";
    refused(&format!("{exporting} {alias}"), "passes modules as arguments");
}

#[test]
fn many_parts_are_refused() {
    let many = |part: &str, count: usize| part.repeat(count);
    let functions = format!("(core module {})", many("(func)", 100_001));
    refused(&functions, "functions: expected at most 100000, found 100001");
    refused(&many("(core module)", 257), "modules: expected at most 256, found 257");
    refused(&many("(component)", 257), "components inside it: expected at most 256, found 257");
    let tables = format!("(core module {})", many("(table 1 funcref)", 101));
    refused(&tables, "memories and tables: expected at most 100, found 101");
    let large = format!("(core module (func {}))", many("nop ", 2 << 20));
    refused(&large, "bytes in one function: expected at most 2097152");
    let types = format!("(core module {})", many("(type (func (param i32 i64 f32 f64)))", 700_000));
    refused(&types, "bytes of declarations: expected at most 4194304");
    let aliases = "(alias export 0 \"a\" (func))".repeat(50_000);
    let imported = "(import \"i\" (instance (export \"a\" (func))))";
    refused(&format!("{imported} {aliases}"), "steps to instantiate it");
    let instances = "(core instance (instantiate 0))".repeat(100);
    let fields = format!("(core module {}) {instances}", many("(global i32 (i32.const 0))", 2_100));
    refused(&fields, "imports, functions and globals of instances: expected at most 200000");
}

#[test]
fn names_are_counted_and_other_custom_sections_are_not() {
    let section = |name: &str, size: usize| {
        let leb = |mut number: usize| {
            let mut bytes = Vec::new();
            loop {
                let low = (number & 127) as u8;
                number >>= 7;
                bytes.push(if number > 0 { low | 128 } else { low });
                if number == 0 {
                    return bytes;
                }
            }
        };
        let content = [&leb(name.len()), name.as_bytes(), &vec![0; size]].concat();
        let module = [b"\0asm\x01\0\0\0\0", &leb(content.len())[..], &content].concat();
        [b"\0asm\x0d\0\x01\0\x01", &leb(module.len())[..], &module].concat()
    };
    assert_eq!(count("test", &section("other", 9 << 20)).unwrap().names, 0);
    let error = count("test", &section("name", 9 << 20)).unwrap_err();
    assert!(error.to_string().contains("bytes of names: expected at most"), "{error}");
}

#[test]
fn a_cut_component_is_refused_wherever_it_ends() {
    let whole = component(&doubling(3, "(core module) (core instance (instantiate 0))"));
    for length in 8..whole.len() {
        // A cut between two sections leaves a component that is whole, and smaller.
        if let Ok(counts) = count("test", &whole[..length]) {
            assert!(counts.instances <= 22);
        }
    }
}

#[test]
fn sections_are_counted_even_where_they_are_empty() {
    let mut bytes = component("");
    // A custom section whose name is empty.
    bytes.extend([0, 1, 0].repeat(limits::SECTIONS as usize));
    assert_eq!(count("test", &bytes).unwrap().sections, limits::SECTIONS);
    bytes.extend([0, 1, 0]);
    let error = count("test", &bytes).unwrap_err();
    let rule = "sections: expected at most 100000, found more";
    assert!(error.to_string().contains(rule), "{error}");
}
