//! What a user can do about an error of an item that has no hint of its own, by its class.

/// Returns the hint for a class of errors. `again` is the command that tries the image again.
pub fn of(class: &str, again: &str) -> String {
    match class {
        "network" | "changed" => {
            format!("it is tried again by itself; if it fails in the end: {again}")
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
