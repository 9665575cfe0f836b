//! Limits that the user's shell or service manager has set (`ulimit`, getrlimit(2)), for errors.
//!
//! Such a limit stops the compiler or a plugin as a limit of the host does. What it refuses: to report that as
//! a fault of the plugin. An error names the limit, its value and the `ulimit` option that shows it.

use std::fmt;

use rustix::process::{Resource, getrlimit};

use occystrap_base::error::Error;

/// A limit on this process, which is inherited by the processes that it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserLimit {
    resource: Resource,
    /// Bytes, or seconds of processor time.
    pub most: u64,
}

impl UserLimit {
    /// Returns the limit in force; `None` where there is none.
    #[must_use]
    pub fn on(resource: Resource) -> Option<Self> {
        getrlimit(resource).current.map(|most| Self { resource, most })
    }

    /// Returns the limit where it is below what the host allows by itself.
    #[must_use]
    pub fn below(resource: Resource, host: u64) -> Option<Self> {
        Self::on(resource).filter(|limit| limit.most < host)
    }

    /// Returns what is limited, and the option of `ulimit`.
    fn words(self) -> (&'static str, &'static str) {
        match self.resource {
            Resource::As => ("address space", "-v"),
            Resource::Data => ("data", "-d"),
            Resource::Cpu => ("processor time", "-t"),
            Resource::Fsize => ("the size of a file", "-f"),
            _ => ("a resource", "-a"),
        }
    }
}

impl fmt::Display for UserLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, option) = self.words();
        let most = match self.resource {
            Resource::Cpu => format!("{} s", self.most),
            _ => occystrap_base::terminal::size::size(self.most),
        };
        write!(
            f,
            "the limit of {most} on {what} that this process was started with (ulimit {option})"
        )
    }
}

/// Returns the resources that a system call has run out of, by the text of an error of wasmtime, which has
/// no type for it. Files count as well: wasmtime keeps the initial content of a memory in one without a name.
#[must_use]
pub fn exhausted(cause: &str) -> &'static [Resource] {
    if cause.contains("Cannot allocate memory") {
        &[Resource::As, Resource::Data]
    } else if cause.contains("File too large") {
        &[Resource::Fsize]
    } else {
        &[]
    }
}

/// Adds the command that shows the first of the limits, where there is one.
#[must_use]
pub fn hinted(error: Error, limits: &[UserLimit]) -> Error {
    match limits.first() {
        Some(limit) => {
            let (_, option) = limit.words();
            error.hint(format!(
                "'ulimit {option}' shows the limit: start occystrap from a shell or service without it"
            ))
        }
        None => error,
    }
}

/// Names the user's limits in an error whose cause, as text, is that the system has refused a resource.
#[must_use]
pub fn explained(error: Error, cause: &str) -> Error {
    let limits: Vec<UserLimit> =
        exhausted(cause).iter().filter_map(|resource| UserLimit::on(*resource)).collect();
    if limits.is_empty() {
        return error;
    }
    let named = format!("{error}, within {}", listed(&limits));
    hinted(Error::new(error.kind(), named), &limits)
}

/// Joins the limits to one phrase.
#[must_use]
pub fn listed(limits: &[UserLimit]) -> String {
    let limits: Vec<String> = limits.iter().map(ToString::to_string).collect();
    limits.join(", or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_named_with_its_value_and_its_option() {
        let of = |resource, most| UserLimit { resource, most }.to_string();
        let started = "that this process was started with (ulimit";
        let expected = format!("the limit of 4.1 GB on address space {started} -v)");
        assert_eq!(of(Resource::As, 4_096_000_000), expected);
        let expected = format!("the limit of 1.0 kB on the size of a file {started} -f)");
        assert_eq!(of(Resource::Fsize, 1024), expected);
        assert_eq!(
            of(Resource::Cpu, 5),
            format!("the limit of 5 s on processor time {started} -t)")
        );
    }
}
