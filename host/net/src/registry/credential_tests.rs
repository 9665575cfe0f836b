//! The search for logins in files: its order, its outcome and its errors.

use super::*;

fn reference(image: &str) -> Reference {
    Reference::parse(image).unwrap()
}

fn text(secret: Option<&Login>) -> String {
    match secret {
        Some(Login::Password { username, password }) => {
            format!("{username}:{}", password.expose())
        }
        Some(Login::IdentityToken(token)) => format!("token {}", token.expose()),
        Some(Login::RegistryToken(token)) => format!("bearer {}", token.expose()),
        None => "nothing".into(),
    }
}

fn look(config: &str, image: &str) -> Result<String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.json");
    std::fs::write(&file, config).unwrap();
    let found = read_place(&LoginPlace::file(file), &reference(image))?;
    Ok(text(found.login.as_ref()))
}

#[test]
fn broken_files_are_named_without_their_secrets() {
    for config in [
        "null?",
        "[",
        r#"{"auths":{"quay.io":{"auth":"c2VjcmV0"}}}"#,
        r#"{"auths":{"quay.io":{"auth":"se$cret"}}}"#,
        r#"{"auths":{"quay.io":"secret"}}"#,
    ] {
        let error = look(config, "quay.io/a").expect_err(config);
        assert_eq!(error.kind(), Kind::Auth);
        assert!(error.to_string().contains("config.json'"), "{error}");
        assert!(!error.to_string().contains("cret"), "{error}");
    }
}

#[test]
fn an_empty_file_of_docker_has_no_login_and_is_not_broken() {
    for config in ["", " \n"] {
        assert_eq!(look(config, "quay.io/a").unwrap(), "nothing", "{config:?}");
    }
}

#[test]
fn a_broken_entry_does_not_hide_another_one_that_fits() {
    let config = r#"{"auths":{"quay.io/a":{"auth":"c2VjcmV0"},"quay.io":{"auth":"bWU6cHc="}}}"#;
    assert_eq!(look(config, "quay.io/a").unwrap(), "me:pw");
    let config = r#"{"credsStore":"that-is-not-there","auths":{"quay.io":{"auth":"bWU6cHc="}}}"#;
    assert_eq!(look(config, "quay.io/a").unwrap(), "me:pw");
}

#[test]
fn a_file_that_the_user_named_goes_before_the_others_and_does_not_hide_them() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, content).unwrap();
        LoginPlace::file(file)
    };
    let named = write("named", r#"{"auths":{"quay.io":{"auth":"bWU6cHc="}}}"#);
    let other = write("other", r#"{"auths":{"quay.io":{"auth":"eW91OnB3"}}}"#);
    let empty = write("empty", "{}");
    let broken = write("broken", "{");
    let of = reference("quay.io/a");
    let look = |named: &LoginPlace, others: &[LoginPlace]| search_named_first(named, others, &of);
    let others = std::slice::from_ref(&other);
    assert_eq!(text(look(&named, others).unwrap().login.as_ref()), "me:pw");
    assert_eq!(text(look(&empty, others).unwrap().login.as_ref()), "you:pw");
    assert_eq!(look(&broken, others).err().map(|error| error.kind()), Some(Kind::Auth));
    let nothing = look(&empty, &[]).unwrap();
    assert!(nothing.login.is_none() && nothing.origin.contains("empty"), "{}", nothing.origin);
}

#[test]
fn a_broken_file_that_the_user_did_not_name_does_not_stop_the_search() {
    let dir = tempfile::tempdir().unwrap();
    let (broken, good) = (dir.path().join("broken"), dir.path().join("good"));
    std::fs::write(&broken, "{").unwrap();
    std::fs::write(&good, r#"{"auths":{"quay.io":{"identitytoken":"tok"}}}"#).unwrap();
    let missing = dir.path().join("missing");
    let of = reference("quay.io/a");
    let [missing, broken, good] = [missing, broken, good].map(LoginPlace::file);
    let found = search(&[missing.clone(), broken.clone(), good], &of);
    assert_eq!((text(found.login.as_ref()), found.troubles.len()), ("token tok".to_owned(), 1));

    let nothing = search(&[missing.clone(), broken], &of);
    assert!(nothing.login.is_none());
    assert!(nothing.origin.contains("not JSON"), "{}", nothing.origin);
    assert!(nothing.origin.contains("(not found: "), "{}", nothing.origin);
    let nothing = search(std::slice::from_ref(&missing), &of);
    let expected = format!("no credentials are configured (searched: {})", missing.shown());
    assert_eq!(nothing.origin, expected);
}
