//! Certificates of registries as administrators make them, and where users configure which ones they trust.

use std::path::Path;

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, date_time_ymd};

use crate::support::cli::{Ran, Sandbox};
use crate::support::real::hello;
use crate::support::registry::Registry;
use crate::support::registry_tls::{Identity, authority, marked_as_authority, parameters};

const HERE: [&str; 2] = ["localhost", "127.0.0.1"];

/// The place where a certificate is configured.
#[derive(Debug, Clone, Copy)]
enum Named {
    Nowhere,
    Bundle,
    System,
    Folder,
}

fn push(registry: &Registry, named: Named, certificate: &str) -> Ran {
    let sandbox = Sandbox::new();
    let image = format!("registry://{}/team/app:1", registry.url_host());
    let source = format!("tar://{}", hello().display());
    let mut arguments = vec!["process", &source, &image, "--retries", "0"];
    let file = sandbox.path("named.crt");
    std::fs::write(&file, certificate).unwrap();
    if let Named::Bundle = named {
        arguments.extend(["--ca-bundle", file.to_str().unwrap()]);
    }
    if let Named::Folder = named {
        write(&sandbox, registry, &[("ca.crt", certificate)]);
    }
    let mut command = sandbox.command(&arguments);
    if let Named::System = named {
        command.env("SSL_CERT_FILE", file);
    }
    Ran::of(command)
}

/// Returns another authority with the name of [`authority`].
fn of_the_company() -> CertificateParams {
    let mut parameters = parameters(&HERE);
    parameters.distinguished_name.push(DnType::CommonName, "Company CA");
    parameters
}

/// Writes files into the user's own folder for a registry.
fn write(sandbox: &Sandbox, registry: &Registry, files: &[(&str, &str)]) {
    let folder = sandbox.path("home/.config/containers/certs.d").join(registry.url_host());
    std::fs::create_dir_all(&folder).unwrap();
    for (name, content) in files {
        std::fs::write(folder.join(Path::new(name)), content).unwrap();
    }
}

#[test]
fn a_certificate_that_the_user_named_is_accepted() {
    let authority = authority();
    for (what, identity) in [
        ("self-signed", Identity::new()),
        ("self-signed, CA:TRUE", Identity::of(&marked_as_authority(&HERE), None)),
        ("of an authority of the same name", Identity::of(&of_the_company(), Some(&authority))),
        ("of an authority that is not named", Identity::of(&parameters(&HERE), Some(&authority))),
    ] {
        let certificate = identity.certificate.clone();
        let registry = Registry::start_as(identity);
        for named in [Named::Bundle, Named::System, Named::Folder] {
            let ran = push(&registry, named, &certificate);
            assert_eq!(ran.code, 0, "{what} {named:?}: {}", ran.stderr);
        }
        let ran = push(&registry, Named::Nowhere, &certificate);
        assert_eq!(ran.code, 1, "{what}: {}", ran.stderr);
        assert!(ran.stderr.contains("is not trusted: "), "{}", ran.stderr);
        assert!(ran.stderr.contains("--ca-bundle FILE"), "{}", ran.stderr);
    }
    let registry = Registry::start_as(Identity::of(&parameters(&HERE), Some(&authority)));
    push(&registry, Named::Folder, &authority.pem()).exits(0);
}

#[test]
fn a_certificate_that_was_named_is_still_for_one_name_and_one_time() {
    let dated = |mut parameters: CertificateParams, from: i32, to: i32| {
        parameters.not_before = date_time_ymd(from, 1, 1);
        parameters.not_after = date_time_ymd(to, 1, 1);
        parameters
    };
    let create = "openssl req -x509 -newkey rsa:2048 -nodes -days 365 -keyout domain.key -out domain.crt \
                  -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1";
    for (what, hint) in [
        (dated(marked_as_authority(&HERE), 2020, 2021), ("it has expired", "renew it")),
        (dated(parameters(&HERE), 2020, 2021), ("it has expired", "renew it")),
        (dated(marked_as_authority(&HERE), 2090, 2091), ("it is not valid yet", "check the clock")),
        (marked_as_authority(&["other.example"]), ("it is not for the name '127.0.0.1'", create)),
        (parameters(&["other.example"]), ("it is not for the name '127.0.0.1'", create)),
        (marked_as_authority(&[]), ("it names no host in its subjectAltName", create)),
        (parameters(&[]), ("it names no host in its subjectAltName", create)),
    ] {
        let identity = Identity::of(&what, None);
        let certificate = identity.certificate.clone();
        let registry = Registry::start_as(identity);
        for named in [Named::Bundle, Named::Folder] {
            let ran = push(&registry, named, &certificate);
            assert_eq!(ran.code, 1, "{}", ran.stderr);
            assert!(ran.stderr.contains(hint.0) && ran.stderr.contains(hint.1), "{}", ran.stderr);
        }
    }
    // Another one of the same name was named.
    let registry = Registry::start_as(Identity::of(&marked_as_authority(&HERE), None));
    let other = Identity::of(&marked_as_authority(&HERE), None);
    let ran = push(&registry, Named::Bundle, &other.certificate);
    ran.exits(1);
    assert!(ran.stderr.contains("is not trusted: "), "{}", ran.stderr);
}

#[test]
fn a_certificate_that_is_rejected_is_described_and_the_hint_works() {
    let authority = authority();
    let mut for_clients = parameters(&HERE);
    for_clients.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    for (what, says, hint) in [
        (&for_clients, "it is not for servers", "openssl req"),
        (&marked_as_authority(&HERE), "marked as an authority's", "name this very certificate"),
    ] {
        let identity = Identity::of(what, Some(&authority));
        let own = identity.certificate.clone();
        let registry = Registry::start_as(identity);
        let ran = push(&registry, Named::Bundle, &authority.pem());
        ran.exits(1).says(says).says(hint);
        assert!(!ran.stderr.contains("Other"), "{}", ran.stderr);
        if hint.contains("very") {
            push(&registry, Named::Bundle, &own).exits(0);
            push(&registry, Named::Folder, &own).exits(0);
        }
    }
}

#[test]
fn a_registry_that_asks_for_a_certificate_gets_that_of_its_folder() {
    let authority = authority();
    let server = Identity::new().for_clients_of(&authority);
    let certificate = server.certificate.clone();
    let registry = Registry::start_as(server);
    let client = Identity::of(&parameters(&["me"]), Some(&authority));
    let (image, source) = (
        format!("registry://{}/team/app:1", registry.url_host()),
        format!("tar://{}", hello().display()),
    );
    let run = |files: &[(&str, &str)]| {
        let sandbox = Sandbox::new();
        write(&sandbox, &registry, files);
        sandbox.process(&source, &image, &["--retries", "0"])
    };
    let ca = ("ca.crt", certificate.as_str());
    let key = client.key();
    let pair = [("client.cert", client.certificate.as_str()), ("client.key", key.as_str())];
    run(&[&[ca][..], &pair].concat()).exits(0);
    let ran = run(&[ca]);
    ran.exits(1).says("it asks for a certificate of the client").says("client.cert");
    assert!(!ran.stderr.contains("--insecure"), "{}", ran.stderr);
    // The first that the server's authority has signed is sent.
    let other = Identity::new();
    let other_key = other.key();
    let stranger = [("a.cert", other.certificate.as_str()), ("a.key", other_key.as_str())];
    run(&[&[ca][..], &stranger, &pair].concat()).exits(0);
    let ran = run(&[ca, pair[0]]);
    ran.exits(2);
    assert!(ran.stderr.contains("exists without"), "{}", ran.stderr);
}

#[test]
fn a_broken_file_in_the_folder_of_a_registry_is_named_once() {
    let (sandbox, registry) = (Sandbox::new(), Registry::start_tls());
    write(&sandbox, &registry, &[("broken.crt", "no certificate")]);
    let ran = sandbox.run(&["info", &format!("registry://{}/team/app:1", registry.url_host())]);
    ran.exits(1).says("--ca-bundle FILE");
    let named = ran.stderr.matches("broken.crt' holds no certificate").count();
    assert_eq!(named, 1, "{}", ran.stderr);
}
