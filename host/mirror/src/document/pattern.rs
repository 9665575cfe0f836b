//! Alternatives in `from`: `quay.io/prometheus/{prometheus,alertmanager}` names two repositories.
//!
//! What this module refuses: braces in braces, braces with one alternative (a placeholder belongs in `to`), and more
//! alternatives than the limit.

/// Largest number of names that the alternatives of one file stand for. Each becomes a repository whose tags are asked for.
pub const MOST_ALTERNATIVES: usize = 100_000;

/// Returns every name that a pattern stands for, in order; the first braces change slowest. Errors with a message and a
/// hint, also where there are more than `most`.
pub fn names(text: &str, most: usize) -> Result<Vec<String>, (String, String)> {
    let mut names = vec![String::new()];
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (fixed, braces) = rest.split_at(at);
        let Some(inner) = braces.strip_prefix('{') else {
            return Err(("there is a '}' without its '{'".to_owned(), String::new()));
        };
        let Some((inner, after)) = inner.split_once('}') else {
            return Err(("there is a '{' without its '}'".to_owned(), String::new()));
        };
        if inner.contains('{') {
            return Err((
                "there are braces in braces".to_owned(),
                "write all alternatives in one pair of braces".to_owned(),
            ));
        }
        let alternatives: Vec<&str> = inner.split(',').map(str::trim).collect();
        if alternatives.len() < 2 {
            let hint =
                "alternatives are written {a,b}; placeholders such as {repository} belong in 'to'";
            return Err((format!("'{{{inner}}}' has one alternative"), hint.to_owned()));
        }
        if names.len().saturating_mul(alternatives.len()) > most {
            let hint = "put references in a text file, one a line, and name it with 'list'";
            return Err((
                format!(
                    "the alternatives of the file stand for more than {MOST_ALTERNATIVES} names"
                ),
                hint.to_owned(),
            ));
        }
        names = names
            .iter()
            .flat_map(|name| {
                alternatives.iter().map(move |alternative| format!("{name}{fixed}{alternative}"))
            })
            .collect();
        rest = after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_is_named_once() {
        assert_eq!(names("a/b", 1).unwrap(), ["a/b"]);
        assert_eq!(names("h/{a, b}/x{,-y}", 4).unwrap(), ["h/a/x", "h/a/x-y", "h/b/x", "h/b/x-y"]);
    }

    #[test]
    fn what_is_no_alternative_is_said() {
        for (text, message) in [
            ("a/{b", "there is a '{' without its '}'"),
            ("a/b}", "there is a '}' without its '{'"),
            ("a/{b,{c,d}}", "there are braces in braces"),
            ("a/{repository}", "'{repository}' has one alternative"),
            ("{a,b}{a,b}{a,b}", "the alternatives of the file stand for more than 100000 names"),
        ] {
            assert_eq!(names(text, 7).unwrap_err().0, message, "{text}");
        }
        let bomb = "{a,b,c,d,e,f,g,h,i,j}".repeat(1000);
        assert!(names(&bomb, MOST_ALTERNATIVES).is_err());
    }
}
