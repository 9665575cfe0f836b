use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::table::tests::mask_with;
use super::*;

const PASSWORD: &str = "Hunter2+/Se cret%&é";

fn masked(text: &str) -> String {
    mask_with(&[PASSWORD], &[], text)
}

#[test]
fn a_password_is_masked_in_every_spelling() {
    let percent = |text: &str, upper: bool| {
        let each = text.bytes().map(|byte| match upper {
            true => format!("%{byte:02X}"),
            false => format!("%{byte:02x}"),
        });
        each.collect::<String>()
    };
    let form: String = url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
    let hex: String = PASSWORD.bytes().map(|byte| format!("{byte:02x}")).collect();
    let escaped: String = PASSWORD.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect();
    let html: String = PASSWORD.chars().map(|c| format!("&#{};", u32::from(c))).collect();
    for spelling in [
        PASSWORD.to_owned(),
        PASSWORD.to_ascii_lowercase(),
        PASSWORD.replace('+', "%2B"),
        PASSWORD.replace('/', "%2f").replace(' ', "%20"),
        PASSWORD.replace('/', "\\/"),
        PASSWORD.replace('&', "&amp;"),
        PASSWORD.replace("Se", "S\ne"),
        percent(PASSWORD, true),
        percent(PASSWORD, false),
        percent(&percent(PASSWORD, true), false),
        form.clone(),
        form.to_lowercase(),
        hex.to_uppercase(),
        hex,
        escaped.clone(),
        escaped.replace('\\', "\\\\"),
        html,
        STANDARD.encode(PASSWORD),
        URL_SAFE_NO_PAD.encode(PASSWORD),
        STANDARD.encode(format!("me:{PASSWORD}")),
        STANDARD.encode(format!("operator:{PASSWORD}")).trim_end_matches('=').to_owned(),
        URL_SAFE_NO_PAD.encode(format!("user:{PASSWORD}")),
        percent(&STANDARD.encode(format!("user:{PASSWORD}")), true),
    ] {
        for text in ["{}", "registry said '{}' there", "[\"{}\"]", "({}),"] {
            let shown = masked(&text.replace("{}", &spelling));
            assert_eq!(shown, text.replace("{}", MASK), "{spelling}");
        }
    }
}

#[test]
fn a_character_of_two_escapes_is_one() {
    let text = r#"{"a":"\ud83d\ude00Hunter2 \ud83d\u0041 \ud83d"}"#;
    let masked = mask_with(&["\u{1f600}Hunter2"], &[], text);
    assert_eq!(masked, r#"{"a":"*** \ud83d\u0041 \ud83d"}"#);
}

#[test]
fn other_text_stays_as_it_is() {
    for text in [
        "",
        "100% of \\ a & b; %zz \\u12 &#x;",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "Hunter2 + / Se",
        "é\u{202e}",
    ] {
        assert_eq!(masked(text), text);
    }
}

#[test]
fn a_short_secret_is_masked_where_it_stands_alone() {
    let masked = |text: &str| mask_with(&["abc", "1234", "zebra"], &[], text);
    assert_eq!(
        masked("abc 1234 a1234 12345 me:1234@h zebras zebra"),
        "abc *** a1234 12345 me:***@h zebras ***"
    );
}

#[test]
fn a_weak_password_that_is_a_shown_word_is_not_masked() {
    let text = "registry://h/team1-x/app: Team1-x, Registry, latest";
    assert_eq!(mask_with(&["team1-x", "Registry", "latest"], &["team1-x"], text), text);
    // A word that the user has not shown is masked.
    assert_eq!(mask_with(&["team1-x"], &[], "h/team1-x/app"), "h/***/app");
    assert_eq!(mask_with(&["Strong-Hunter2"], &["strong-hunter2"], "Strong-Hunter2"), MASK);
}

#[test]
fn a_long_token_is_masked_where_it_is_cut_off_as_well() {
    let token =
        |end: &str| format!("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.{}.{end}", "payload".repeat(40));
    let token = token("signature-of-one");
    let masked = |text: &str| mask_with(&[&token], &[], text);
    assert_eq!(masked(&format!("bad token {token}!")), "bad token ***!");
    assert_eq!(masked(&format!("bad token {}...", &token[..90])), "bad token ***");
    assert_eq!(masked(&format!("of {}", &token[150..])), "of ***");
}

#[test]
fn a_secret_is_never_shown_by_itself() {
    let secret = Secret::new("Debugged-Hunter2");
    assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "*** *** Some(***)");
    assert_eq!(secret.expose(), "Debugged-Hunter2");
    assert_eq!(mask("a Debugged-Hunter2 b"), "a *** b");
}

#[test]
fn lines_that_are_written_in_pieces_are_masked() {
    use std::io::Write as _;
    keep("Pieces-Hunter2");
    let mut out = Vec::new();
    let mut lines = MaskedLines::new(&mut out);
    for piece in ["a Pieces-", "Hunter2\nb", "\n\nPieces-Hun", "ter2"] {
        lines.write_all(piece.as_bytes()).unwrap();
    }
    lines.write_all(b"\xff\n").unwrap();
    drop(lines);
    assert_eq!(String::from_utf8(out).unwrap(), "a ***\nb\n\n***\u{fffd}\n");
}

proptest::proptest! {
    #[test]
    fn nothing_makes_it_panic_and_nothing_is_left(before in "\\PC{0,20}", after in "\\PC{0,20}") {
        let shown = masked(&format!("{before}{PASSWORD}{after}"));
        proptest::prop_assert!(!shown.contains(PASSWORD));
    }
}
