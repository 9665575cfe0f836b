//! Authentication challenges of servers: `WWW-Authenticate` (RFC 9110, 11.3 and 11.6.1).
//!
//! An answer may have several challenges, in one header or in several. A comma separates both parameters and
//! challenges. Servers deviate from the grammar, so the parser reads what it can and skips the rest. A challenge that
//! it does not understand is ignored, and never an error.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// The longest part of a header that is read, in bytes. Real headers have some hundred bytes.
const LONGEST_HEADER: usize = 16 * 1024;

/// The most challenges of an answer, and parameters of a challenge, that are kept. Real answers have up to three
/// challenges with up to six parameters.
const MOST_CHALLENGES: usize = 16;
const MOST_PARAMETERS: usize = 32;

/// A challenge: an authentication scheme with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Challenge {
    /// The scheme in lower case: `basic`, `bearer`, `negotiate`.
    pub(super) scheme: String,
    /// Names in lower case and values, in the order of the header.
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// Returns a parameter by its name in lower case. The first of several counts.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Returns the same challenge without its scope.
    pub(super) fn without_scope(mut self) -> Self {
        self.parameters.retain(|(name, _)| name != "scope");
        self
    }
}

/// Returns all challenges of an answer.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let mut all = Vec::new();
    for header in headers.get_all(WWW_AUTHENTICATE).iter().take(MOST_CHALLENGES) {
        all.extend(parse(&String::from_utf8_lossy(header.as_bytes())));
    }
    all.truncate(MOST_CHALLENGES);
    all
}

/// Returns the challenges of one header.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Rest(header.get(..LONGEST_HEADER).unwrap_or(header));
    let mut all: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c == ',' || is_space(c));
        let word = rest.take(is_token);
        if word.is_empty() {
            // No word starts here: skip a character, or end.
            if rest.next().is_none() {
                return all;
            }
            continue;
        }
        let before_space = rest.0;
        rest.skip(is_space);
        if rest.eat('=') {
            rest.skip(is_space);
            let value = rest.value();
            if let Some(challenge) = all.last_mut()
                && challenge.parameters.len() < MOST_PARAMETERS
            {
                challenge.parameters.push((word.to_ascii_lowercase(), value));
            }
        } else {
            if all.len() == MOST_CHALLENGES {
                return all;
            }
            all.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            if before_space.len() > rest.0.len() {
                rest.skip_token68();
            }
        }
    }
}

/// The unread rest of a header.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.0.chars();
        let next = chars.next();
        self.0 = chars.as_str();
        next
    }

    fn eat(&mut self, wanted: char) -> bool {
        match self.0.strip_prefix(wanted) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn take(&mut self, accept: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !accept(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, accept: impl Fn(char) -> bool) {
        self.take(accept);
    }

    /// Reads a quoted string (RFC 9110, 5.6.4), or the characters up to a space or comma. A string without a closing
    /// quote ends with the header.
    fn value(&mut self) -> String {
        if !self.eat('"') {
            return self.take(|c| c != ',' && !is_space(c)).to_owned();
        }
        let mut value = String::new();
        while let Some(c) = self.next() {
            match c {
                '"' => break,
                '\\' => value.extend(self.next()),
                c => value.push(c),
            }
        }
        value
    }

    /// Skips a `token68`, such as the data of Negotiate. No supported scheme uses it. A word is one when it ends at a
    /// comma or at the end of the header.
    fn skip_token68(&mut self) {
        let start = self.0;
        let blob = self.take(|c| c.is_ascii_alphanumeric() || "-._~+/".contains(c));
        self.skip(|c| c == '=');
        self.skip(is_space);
        if blob.is_empty() || !(self.0.is_empty() || self.0.starts_with(',')) {
            self.0 = start;
        }
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t')
}

/// Returns whether a character belongs to a token (RFC 9110, 5.6.2).
fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn show(header: &str) -> String {
        let one = |challenge: &Challenge| {
            let parameters: Vec<_> = challenge
                .parameters
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            format!("{}({})", challenge.scheme, parameters.join(";"))
        };
        parse(header).iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn registries_as_they_are() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull""#,
                "bearer(realm=https://auth.docker.io/token;service=registry.docker.io;scope=repository:library/busybox:pull)",
            ),
            (r#"Basic realm="Registry""#, "basic(realm=Registry)"),
            ("bearer REALM=https://a/t , service = s", "bearer(realm=https://a/t;service=s)"),
            (
                "BEARER  realm=\"https://a/t\",\tscope=\"repository:a:pull,push repository:b:pull\"",
                "bearer(realm=https://a/t;scope=repository:a:pull,push repository:b:pull)",
            ),
            (
                r#"Basic realm="a", Bearer realm="b",service="c""#,
                "basic(realm=a) bearer(realm=b;service=c)",
            ),
            (r#"Negotiate, Basic realm="x""#, "negotiate() basic(realm=x)"),
            (r#"Negotiate YII+/a==, Basic realm="x""#, "negotiate() basic(realm=x)"),
            (r#"Basic realm="a \"quoted\" \\ name""#, r#"basic(realm=a "quoted" \ name)"#),
            (r#",, ,Basic realm="x",,, charset="UTF-8","#, "basic(realm=x;charset=UTF-8)"),
            (r#"Bearer realm="a" service="no comma""#, "bearer(realm=a;service=no comma)"),
            (r#"Bearer realm="open"#, "bearer(realm=open)"),
            ("realm=\"no scheme\"", ""),
            ("Basic", "basic()"),
            ("", ""),
            ("\"=,;", ""),
        ] {
            assert_eq!(show(header), expected, "{header}");
        }
    }

    #[test]
    fn the_worst_headers_are_bounded() {
        assert_eq!(parse(&"a,".repeat(10_000)).len(), MOST_CHALLENGES);
        let one = format!("Bearer {}", "a=b,".repeat(10_000));
        assert_eq!(parse(&one)[0].parameters.len(), MOST_PARAMETERS);
        assert!(parse(&format!("Bearer realm={}", "é".repeat(100_000))).len() == 1);
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Negotiate".parse().unwrap());
        headers.append(WWW_AUTHENTICATE, "Bearer realm=\"x\"".parse().unwrap());
        let schemes: Vec<_> = challenges(&headers).into_iter().map(|one| one.scheme).collect();
        assert_eq!(schemes, ["negotiate", "bearer"]);
    }

    proptest! {
        #[test]
        fn nothing_panics(header in "\\PC*|[a-c=\"\\\\, \t]{0,60}") {
            parse(&header);
        }

        #[test]
        fn any_spelling_is_understood(
            written in prop::collection::vec(
                ("[A-Za-z]{1,9}", prop::collection::vec(("[A-Za-z]{1,9}", "[ -~]{0,12}", "[ \t]{0,2}"), 1..4)),
                1..4,
            ),
        ) {
            let quote = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"");
            let challenge = |(scheme, parameters): &(String, Vec<(String, String, String)>)| {
                let parameters: Vec<_> = parameters
                    .iter()
                    .map(|(name, value, gap)| format!("{gap}{name}{gap}={gap}\"{}\"{gap}", quote(value)))
                    .collect();
                format!("{scheme} {}", parameters.join(","))
            };
            let header = written.iter().map(challenge).collect::<Vec<_>>().join(", ");
            let expected: Vec<_> = written
                .iter()
                .map(|(scheme, parameters)| Challenge {
                    scheme: scheme.to_lowercase(),
                    parameters: parameters
                        .iter()
                        .map(|(name, value, _)| (name.to_lowercase(), value.clone()))
                        .collect(),
                })
                .collect();
            prop_assert_eq!(parse(&header), expected);
        }
    }
}
