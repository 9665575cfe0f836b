//! What a token is asked for (distribution project, "Token Scope Documentation"): entries of
//! `TYPE:NAME:ACTION,ACTION`, separated by spaces.

/// Entries that are sent. A challenge names one; two are needed to mount a blob from elsewhere.
const MOST_ENTRIES: usize = 16;

/// To read a repository.
pub(super) fn pull(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// To read and change a repository.
pub(super) fn push(repository: &str) -> String {
    format!("repository:{repository}:pull,push")
}

/// Whether a scope is one to change a repository, whatever that is called.
pub(super) fn pushes(scope: &str) -> bool {
    let mut actions = scope.split_ascii_whitespace().filter_map(|entry| entry.rsplit_once(':'));
    actions.any(|(_, actions)| actions.split(',').any(|action| action == "push"))
}

/// The scope to ask for, when a registry's challenge named `challenge` and the work needs `wanted`.
/// Who reads asks for what the registry named: it knows its names best. Who writes needs more than
/// the answer to a read (a look for a blob that may be there) names, and asks for both together.
pub(super) fn asked(challenge: Option<&str>, wanted: &str) -> String {
    let Some(challenge) = challenge.filter(|named| !named.trim().is_empty()) else {
        return wanted.to_owned();
    };
    if !pushes(wanted) {
        return challenge.to_owned();
    }
    let mut entries: Vec<(&str, Vec<&str>)> = Vec::new();
    for entry in challenge.split_ascii_whitespace().chain(wanted.split_ascii_whitespace()) {
        // The name may hold a port, so that only the last colon is sure to be ours.
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
    // What the work needs came last, and must not be what is cut off.
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
    fn who_reads_asks_for_what_the_registry_named() {
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
    fn who_writes_asks_for_both() {
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
