//! What a user can do about an error of an item that has no hint of its own, by its class.

use occystrap_base::terminal::shell::quote;

/// Returns the hint for a class of errors. `file` is the path of FILE.
pub fn of(class: &str, file: &str) -> String {
    let file = quote(file);
    let again = format!("occystrap mirror retry {file}");
    match class {
        "network" | "changed" => {
            format!(
                "it is tried again by itself; what became of it: occystrap mirror status {file}"
            )
        }
        "login" => format!("log in to that registry, then run: {again}"),
        "source-missing" => {
            format!("push it to its source again, or name it no more; then run: {again}")
        }
        "source-damaged" => {
            format!(
                "what its source serves is not what it promises: push it there again, then run: {again}"
            )
        }
        "destination" => {
            format!("the destination does not take it: change what it refuses, then run: {again}")
        }
        "verification" => format!("what arrived is not right: send it again with: {again}"),
        _ => format!("correct it, then run: {again}"),
    }
}
