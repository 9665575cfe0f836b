//! Scopes of tokens (distribution project, "Token Scope Documentation"): entries of the form `TYPE:NAME:ACTION,ACTION`,
//! separated by spaces.

/// The most entries that are sent. A challenge has one. The mount of a blob of another repository needs two.
const MOST_ENTRIES: usize = 16;

/// Returns the scope to pull from a repository.
pub(super) fn pull(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// Returns the scope to pull from a repository and push to it.
pub(super) fn push(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

/// Returns the scope to delete in a repository.
pub(super) fn delete(repository: &str) -> String {
    format!("repository:{repository}:pull,push,delete")
}

/// Returns whether a scope allows to push to a repository. The name of a repository may itself be `push`.
pub(super) fn pushes(scope: &str) -> bool {
    let mut actions = scope.split_ascii_whitespace().filter_map(|entry| entry.rsplit_once(':'));
    actions.any(|(_, actions)| actions.split(',').any(|action| action == "push"))
}

/// Returns the scope to request when the registry's challenge has the scope `challenge`, and the work needs `wanted`. A
/// pull requests the scope of the challenge, because a registry may use other names. A push requests both scopes,
/// because the challenge may be the answer to a request that only reads, such as the check for a blob.
pub(super) fn asked(challenge: Option<&str>, wanted: &str) -> String {
    let Some(challenge) = challenge.filter(|named| !named.trim().is_empty()) else {
        return wanted.to_owned();
    };
    if !pushes(wanted) {
        return challenge.to_owned();
    }
    let mut entries: Vec<(&str, Vec<&str>)> = Vec::new();
    for entry in challenge.split_ascii_whitespace().chain(wanted.split_ascii_whitespace()) {
        // The name may contain a port, so only the last colon separates name and actions.
        let (name, actions) = entry.rsplit_once(':').unwrap_or((entry, ""));
        let known = match entries.iter().position(|(other, _)| *other == name) {
            Some(known) => known,
            None => {
                entries.push((name, Vec::new()));
                entries.len() - 1
            }
        };
        for action in actions.split(',') {
            if !entries[known].1.contains(&action) {
                entries[known].1.push(action);
            }
        }
    }
    // Entries are removed from the start, because the scope that the work needs is at the end.
    let excess = entries.len().saturating_sub(MOST_ENTRIES);
    let texts: Vec<_> = entries
        .drain(excess..)
        .map(|(name, actions)| format!("{name}:{}", actions.join(",")))
        .collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pull_asks_for_the_scope_that_the_registry_named() {
        assert_eq!(asked(None, &pull("a/b")), "repository:a/b:pull");
        assert_eq!(asked(Some(" "), &pull("a/b")), "repository:a/b:pull");
        let named = "repository:proxy/a/b:pull registry:catalog:*";
        assert_eq!(asked(Some(named), &pull("a/b")), named);
    }

    #[test]
    fn a_repository_may_be_called_push() {
        assert!(pushes(&push("a/b")) && pushes(&format!("{} {}", pull("x"), push("h:5000/a"))));
        assert!(!pushes(&pull("team/push")) && !pushes("") && !pushes("push"));
    }

    #[test]
    fn a_push_asks_for_pull_and_push() {
        let wanted = push("a/b");
        for (named, expected) in [
            ("", "repository:a/b:pull,push"),
            ("repository:a/b:pull", "repository:a/b:pull,push"),
            ("repository:a/b:push,pull", "repository:a/b:push,pull"),
            ("repository:a/b:pull,push,delete", "repository:a/b:pull,push,delete"),
            ("repository:c:pull", "repository:c:pull repository:a/b:pull,push"),
            ("registry:catalog:*", "registry:catalog:* repository:a/b:pull,push"),
            ("odd", "odd: repository:a/b:pull,push"),
        ] {
            assert_eq!(asked(Some(named), &wanted), expected, "{named}");
        }
        let both = format!("{wanted} {}", pull("h:5000/c"));
        assert_eq!(
            asked(Some("repository:a/b:pull,push repository:h:5000/c:pull"), &both),
            "repository:a/b:pull,push repository:h:5000/c:pull"
        );
    }

    #[test]
    fn a_challenge_cannot_make_a_long_question() {
        let named: String = (0..500).map(|n| format!("repository:r{n}:pull ")).collect();
        let asked = asked(Some(&named), &push("a/b"));
        assert_eq!(asked.split(' ').count(), MOST_ENTRIES);
        assert!(asked.ends_with(" repository:a/b:pull,push"), "{asked}");
    }
}
