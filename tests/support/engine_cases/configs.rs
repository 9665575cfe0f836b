//! Configs and histories.

use super::{EngineCase, base};
use crate::support::layer::file;
use serde_json::{Value, json};

type Edit = Box<dyn Fn(&mut Value)>;

/// Sets a value, by its JSON pointer.
fn set(pointer: &str, value: Value) -> Edit {
    let (folder, key) = pointer.rsplit_once('/').unwrap();
    let (folder, key) = (folder.to_owned(), key.to_owned());
    Box::new(move |config| {
        let folder = config.pointer_mut(&folder).unwrap();
        match key.parse::<usize>() {
            Ok(index) => folder[index] = value.clone(),
            Err(_) => folder[&key] = value.clone(),
        }
    })
}

/// Removes a value.
fn without(pointer: &str) -> Edit {
    let (folder, key) = pointer.rsplit_once('/').unwrap();
    let (folder, key) = (folder.to_owned(), key.to_owned());
    Box::new(move |config| {
        config.pointer_mut(&folder).unwrap().as_object_mut().unwrap().remove(&key);
    })
}

pub fn cases() -> Vec<EngineCase> {
    let two = || EngineCase::of("", &[base(), vec![file("n", b"")]]);
    let mut all = Vec::new();
    for (name, edit) in [histories(), times(), platforms(), values()].into_iter().flatten() {
        all.push(EngineCase { name, ..two() }.edit(edit));
    }
    let step = json!([{ "created_by": "one" }]);
    all.push(EngineCase::new("one step, no layer", vec![]).edit(set("/history", step)));
    let many = (0..126).map(|number| vec![file(format!("l{number}"), b"")]).collect::<Vec<_>>();
    all.push(EngineCase::of("126 layers", &many));
    all
}

fn histories() -> Vec<(String, Edit)> {
    let step = json!({ "created": "2015-10-31T22:22:54Z", "created_by": "ADD" });
    let nothing = json!({ "created_by": "CMD", "empty_layer": true });
    let with = |key: &str, value: Value| {
        let mut changed = step.clone();
        changed[key] = value;
        json!([changed, step])
    };
    let history = |value| set("/history", value);
    vec![
        ("no history".into(), without("/history")),
        ("empty history".into(), history(json!([]))),
        ("one step, two layers".into(), history(json!([step, nothing]))),
        ("no step with a layer, two layers".into(), history(json!([nothing]))),
        ("three steps, two layers".into(), history(json!([step, step, step]))),
        ("two steps and empty ones".into(), history(json!([step, nothing, step, nothing]))),
        ("history of numbers".into(), history(json!([1, 2]))),
        ("history that is a text".into(), history("x".into())),
        ("step of no time".into(), history(with("created", "yesterday".into()))),
    ]
}

fn times() -> Vec<(String, Edit)> {
    let mut rows = vec![("no time".to_owned(), without("/created"))];
    for time in [
        json!(null),
        json!(""),
        json!(5),
        json!("yesterday"),
        json!("1960-01-01T00:00:00Z"),
        json!("2024-01-01T1:00:00Z"),
        json!("2016-12-31T23:59:60Z"),
    ] {
        rows.push((format!("created {time}"), set("/created", time)));
    }
    rows
}

fn platforms() -> Vec<(String, Edit)> {
    let mut rows = vec![
        ("no os".to_owned(), without("/os")),
        ("no architecture".to_owned(), without("/architecture")),
        ("no rootfs type".to_owned(), without("/rootfs/type")),
        ("no rootfs".to_owned(), without("/rootfs")),
        ("no config".to_owned(), without("/config")),
    ];
    for (pointer, value) in [
        ("/os", json!(5)),
        ("/os", json!("Linux")),
        ("/os", json!("freebsd")),
        ("/architecture", json!("")),
        ("/architecture", json!("arm64")),
        ("/rootfs/type", json!("layers+base")),
        ("/rootfs/diff_ids", json!(null)),
        ("/rootfs/diff_ids", json!([])),
        ("/rootfs/diff_ids/1", json!("sha256:xyz")),
        ("/rootfs/diff_ids/1", json!(format!("sha256:{}", "0".repeat(64)))),
    ] {
        let shown = value.to_string().replace(&"0".repeat(64), "0...");
        rows.push((format!("{} {shown}", &pointer[1..]), set(pointer, value)));
    }
    rows
}

fn values() -> Vec<(String, Edit)> {
    let mut rows = Vec::new();
    for (pointer, value) in [
        ("/config", json!("x")),
        ("/config/Env", json!(["novalue"])),
        ("/config/Env", json!(["=x"])),
        ("/config/Env", json!([null])),
        ("/config/Env", json!([1])),
        ("/config/Cmd", json!("/bin/sh")),
        ("/config/Entrypoint", json!("/bin/sh")),
        ("/config/ExposedPorts", json!({ "abc": {} })),
        ("/config/ExposedPorts", json!({ "80-90/tcp": {} })),
        ("/config/WorkingDir", json!("rel")),
        ("/config/Labels", json!({ "a": 1 })),
        ("/config/User", json!("app")),
        ("/config/Volumes", json!({ "rel": {} })),
        ("/config/StopSignal", json!("NOPE")),
        ("/config/Healthcheck", json!("x")),
        ("/config/ArgsEscaped", json!(true)),
        ("/config/OnBuild", json!("x")),
        ("/config/Shell", json!("/bin/sh")),
        ("/config/Hostname", json!(1)),
        ("/docker_version", json!(20)),
    ] {
        rows.push((format!("{} {value}", &pointer[1..]), set(pointer, value)));
    }
    rows
}
