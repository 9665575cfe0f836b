//! What a user can do about an error of an item that has no hint of its own, by its class.

/// Returns the hint for a class of errors. `again` is the command that tries the image again.
pub fn of(class: &str, again: &str) -> String {
    match class {
        "network" | "changed" => {
            format!("the run tries it again by itself; if the last attempt fails: {again}")
        }
        "login" => format!("log in to that registry, then run: {again}"),
        "source-missing" => {
            format!(
                "push the image to its source again, or remove it from the file; then run: {again}"
            )
        }
        "source-damaged" => {
            format!(
                "the source serves other content than it promises: push the image there again, then run: {again}"
            )
        }
        "destination" => {
            format!(
                "the destination refuses the image: fix what its message names, then run: {again}"
            )
        }
        "verification" => {
            format!("the destination has wrong bytes: send the image again with: {again}")
        }
        _ => format!("correct what the message names, then run: {again}"),
    }
}
