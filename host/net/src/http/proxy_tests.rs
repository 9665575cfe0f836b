//! Which requests go through a proxy. The rows on `NO_PROXY` were compared with skopeo 1.9.

use super::*;
use occystrap_base::secret;

fn proxies(set: &[(&str, &str)]) -> Proxies {
    let value = |name: &str| set.iter().find(|(known, _)| *known == name);
    Proxies::new(|name| value(name).map(|(_, value)| (*value).to_owned()))
}

fn through(proxies: &Proxies, url: &str) -> String {
    match proxies.of(&url.parse().unwrap()) {
        Some(proxy) => format!("{proxy} of {}", proxy.variable()),
        None => "-".to_owned(),
    }
}

#[test]
fn the_variable_of_the_scheme_names_the_proxy() {
    for (set, url, expected) in [
        (&[("HTTP_PROXY", "http://p:1")][..], "http://r.example/", "http://p:1 of HTTP_PROXY"),
        (&[("HTTP_PROXY", "http://p:1")], "https://r.example/", "-"),
        (&[("https_proxy", "http://p:1")], "https://r.example/", "http://p:1 of https_proxy"),
        (
            &[("HTTPS_PROXY", ""), ("https_proxy", "p:1")],
            "https://r.example/",
            "http://p:1 of https_proxy",
        ),
        (
            &[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:1")],
            "https://r.example/",
            "http://a:1 of HTTPS_PROXY",
        ),
        // Go does not read ALL_PROXY.
        (&[("ALL_PROXY", "http://p:1")], "https://r.example/", "-"),
        // Without a scheme; with a login, which is not shown; with a path.
        (
            &[("HTTPS_PROXY", "p.example:3128")],
            "https://r.example/",
            "http://p.example:3128 of HTTPS_PROXY",
        ),
        (&[("HTTPS_PROXY", "10.0.0.1")], "https://r.example/", "http://10.0.0.1 of HTTPS_PROXY"),
        (
            &[("HTTPS_PROXY", "http://me:pw@p:1/x")],
            "https://r.example/",
            "http://p:1 of HTTPS_PROXY",
        ),
        (&[("HTTPS_PROXY", "me:pw@p:1")], "https://r.example/", "http://p:1 of HTTPS_PROXY"),
        (&[("HTTPS_PROXY", "https://p")], "https://r.example/", "https://p of HTTPS_PROXY"),
        (
            &[("HTTPS_PROXY", "socks5://p:1080")],
            "https://r.example/",
            "socks5://p:1080 of HTTPS_PROXY",
        ),
        (&[("HTTPS_PROXY", "://")], "https://r.example/", "-"),
        // A web server runs the program: its client chooses HTTP_PROXY.
        (&[("HTTP_PROXY", "http://p:1"), ("REQUEST_METHOD", "GET")], "http://r.example/", "-"),
    ] {
        assert_eq!(through(&proxies(set), url), expected, "{set:?}");
    }
}

#[test]
fn no_proxy_is_read_as_go_reads_it() {
    for (no_proxy, url, goes_through) in [
        ("", "http://r.example/", true),
        // Loopback, whatever the variables say.
        ("", "http://localhost:5000/", false),
        ("", "http://127.0.0.1:5000/", false),
        ("", "http://127.9.9.9/", false),
        ("", "http://[::1]:5000/", false),
        ("", "http://[::ffff:127.0.0.1]/", false),
        ("", "http://r.localhost/", true),
        // Everything.
        ("*", "http://r.example/", false),
        ("*", "http://10.0.0.1:5000/", false),
        ("x.example, * ", "http://10.0.0.1/", false),
        ("*.*", "http://r.example/", true),
        // Names, with what is below them, and in any case.
        ("r.example", "http://r.example/", false),
        ("r.example", "http://a.r.example:5000/", false),
        ("r.example", "http://other.example/", true),
        ("r.example", "http://notr.example/", true),
        ("R.Example", "http://r.example/", false),
        (" a.example , r.example ", "http://r.example/", false),
        (",,r.example,", "http://r.example/", false),
        // Suffixes.
        (".example", "http://r.example/", false),
        (".r.example", "http://r.example/", true),
        (".r.example", "http://a.r.example/", false),
        ("*.r.example", "http://a.b.r.example/", false),
        ("*.r.example", "http://r.example/", true),
        ("r.*", "http://r.example/", true),
        // Ports: of the URL, or those of the scheme.
        ("r.example:5000", "http://r.example:5000/", false),
        ("r.example:5000", "http://r.example:5001/", true),
        ("r.example:5000", "http://r.example/", true),
        ("r.example:80", "http://r.example/", false),
        ("r.example:443", "https://r.example/", false),
        (".example:5000", "http://r.example:5000/", false),
        ("r.example:", "http://r.example:5000/", false),
        (":5000", "http://r.example:5000/", true),
        // Addresses.
        ("10.0.0.1", "http://10.0.0.1:5000/", false),
        ("10.0.0.1", "http://10.0.0.2/", true),
        ("10.0.0.1:5000", "http://10.0.0.1:5000/", false),
        ("10.0.0.1:5000", "http://10.0.0.1:5001/", true),
        ("10.0.0", "http://10.0.0.1/", true),
        ("10.", "http://10.0.0.1/", true),
        ("0.0.1", "http://10.0.0.1/", false),
        ("fd00::1", "http://[fd00::1]:5000/", false),
        ("[fd00::1]:5000", "http://[fd00::1]:5000/", false),
        ("[fd00::1]:5000", "http://[fd00::1]:5001/", true),
        ("[fd00::1]", "http://[fd00::1]/", true),
        ("::ffff:10.0.0.1", "http://10.0.0.1/", false),
        // Networks.
        ("10.0.0.0/8", "http://10.255.0.1:5000/", false),
        ("10.1.2.3/8", "http://10.255.0.1/", false),
        ("10.0.0.0/8", "http://11.0.0.1/", true),
        ("0.0.0.0/0", "http://11.0.0.1/", false),
        ("0.0.0.0/0", "http://r.example/", true),
        ("fd00::/8", "http://[fd12::1]/", false),
        ("10.0.0.0/33", "http://10.0.0.1/", true),
        // Names in other alphabets.
        ("b\u{fc}cher.example", "http://xn--bcher-kva.example/", false),
    ] {
        let proxies = proxies(&[
            ("HTTP_PROXY", "http://p:1"),
            ("HTTPS_PROXY", "http://p:1"),
            ("NO_PROXY", no_proxy),
        ]);
        let is_through = proxies.of(&url.parse().unwrap()).is_some();
        assert_eq!(is_through, goes_through, "NO_PROXY={no_proxy} {url}");
    }
}

#[test]
fn the_login_of_a_proxy_is_a_secret() {
    let proxies = proxies(&[("HTTPS_PROXY", "http://me:s3cret-of%2Fa-proxy@p:1")]);
    assert!(!format!("{proxies:?}").contains("s3cret"));
    assert!(secret::is_in(b"s3cret-of%2Fa-proxy") && secret::is_in(b"s3cret-of/a-proxy"));
}
