//! Code that wastes the host's time and memory, and false receipts.

use occystrap_plugin::writer::{Entry, Expectation, Part, Place, Receipt, Role, Step};

/// Computes until the host stops the plugin.
pub fn forever() -> ! {
    let mut n = 0_u64;
    loop {
        n = std::hint::black_box(n.wrapping_add(1));
    }
}

/// Allocates memory until the host stops the plugin.
pub fn grow() -> ! {
    let mut all = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

/// Calls itself until the stack is full.
#[allow(unconditional_recursion)]
pub fn recurse(n: u64) -> u64 {
    std::hint::black_box(n) + recurse(n + 1)
}

fn file(role: Role, path: &str, size: Option<u64>, digest: Option<&str>) -> Expectation {
    Expectation {
        role,
        place: Place::File(path.to_owned()),
        size,
        digest: digest.map(str::to_owned),
    }
}

/// Returns the receipt of a correct session, falsified as `behaviour` says. The state of the receipt contains the
/// behaviour, for `verify`.
pub fn receipt(behaviour: &str, mut expectations: Vec<Expectation>) -> Receipt {
    let mut state = behaviour.as_bytes().to_vec();
    let layer = expectations.iter().position(|item| matches!(item.role, Role::Layer(1)));
    match behaviour {
        "receipt-empty" => expectations.clear(),
        "receipt-without-config" => expectations.retain(|item| !matches!(item.role, Role::Config)),
        "receipt-without-layer" => drop(layer.map(|at| expectations.remove(at))),
        "receipt-invented" => expectations.push(file(Role::Image, "invented", Some(5), None)),
        "receipt-outside" => expectations.push(file(Role::Image, "../../etc/passwd", None, None)),
        "receipt-entry" => expectations.push(Expectation {
            role: Role::Catalog,
            place: Place::Entry(Entry {
                path: "catalog.json".to_owned(),
                steps: vec![Step::Key("a".to_owned())],
                value: "b".to_owned(),
            }),
            size: None,
            digest: None,
        }),
        "receipt-part" => expectations.push(Expectation {
            role: Role::Image,
            place: Place::Part(Part {
                path: "config".to_owned(),
                member: "x".to_owned(),
                offset: 1,
            }),
            size: Some(2),
            digest: None,
        }),
        "receipt-far-part" => expectations.push(Expectation {
            role: Role::Image,
            place: Place::Part(Part {
                path: "config".to_owned(),
                member: "x".to_owned(),
                offset: u64::MAX,
            }),
            size: Some(u64::MAX),
            digest: None,
        }),
        "receipt-wrong-size" => expectations[0].size = Some(1),
        "receipt-wrong-digest" => {
            expectations[0].digest = Some(format!("sha256:{}", "0".repeat(64)));
        }
        "receipt-bad-digest" => expectations[0].digest = Some("sha256:../../../x".to_owned()),
        "receipt-no-such-layer" => {
            let mut item = expectations[1].clone();
            item.role = Role::Layer(u32::MAX);
            expectations.push(item);
        }
        "receipt-swapped" => {
            for item in &mut expectations {
                item.role = match item.role {
                    Role::Layer(0) => Role::Layer(1),
                    Role::Layer(1) => Role::Layer(0),
                    other => other,
                };
            }
        }
        "receipt-config-is-layer" => expectations[1].role = Role::Config,
        "receipt-many" => expectations = vec![expectations[0].clone(); 100_001],
        "receipt-huge" => expectations = vec![expectations[0].clone(); 300_000],
        "receipt-state" => state = vec![0; 64 * 1024 + 1],
        _ => {}
    }
    Receipt { expectations, state }
}
