//! The client of container engines, against an engine in this process: what it reads, which answers it rejects, and that
//! an upload that it gives up is not loaded.

use std::time::{Duration, Instant};

use bytes::Bytes;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::ImageName;
use occystrap_net::docker::{Address, Engine as Client, Load};

use crate::support::engine::Engine;
use crate::support::image::{Pack, TestImage};
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::shape;
use crate::support::user::run;

fn client(engine: &Engine) -> Client {
    Client::new(&engine.address(), &Cancel::default()).unwrap()
}

fn load(engine: &Engine) -> Load {
    client(engine).load(&tokio::runtime::Handle::current())
}

fn with_image() -> (Engine, TestImage) {
    let (engine, image) = (Engine::start(), TestImage::new("team/app:1"));
    engine.put(&image, shape::docker25(&[&image], Pack::Plain).bytes());
    (engine, image)
}

async fn export(client: &Client, name: &str) -> Result<Vec<u8>> {
    let mut export = client.export(name).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = export.next().await? {
        bytes.extend_from_slice(&piece);
    }
    export.failure().map_or(Ok(bytes), Err)
}

#[test]
fn an_engine_describes_itself_and_an_image() {
    let (engine, image) = with_image();
    let client = client(&engine);
    let about = run(client.about()).unwrap();
    assert_eq!((about.podman, about.containerd_store), (false, false));
    assert_eq!((about.version.as_str(), about.api_version.as_str()), ("1.0-test", "1.41"));
    engine.containerd();
    assert!(run(client.about()).unwrap().containerd_store);

    let found = run(client.inspect("team/app:1")).unwrap().unwrap();
    assert_eq!((found.id, found.diff_ids), (image.id(), image.diff_ids()));
    assert_eq!(
        (found.tags, found.platform.to_string()),
        (vec!["team/app:1".into()], "linux/amd64".into())
    );
    assert_eq!(run(client.inspect("team/other")).unwrap(), None);
    assert_eq!(run(client.inspect("../info")).unwrap_err().kind(), Kind::Usage);
}

#[test]
fn an_export_comes_whole_or_fails() {
    let (engine, image) = with_image();
    let client = client(&engine);
    let archive = shape::docker25(&[&image], Pack::Plain).bytes();
    assert!(run(export(&client, "team/app:1")).unwrap() == archive);
    assert_eq!(run(export(&client, "none")).unwrap_err().kind(), Kind::NotFound);

    engine.fault("GET", "/get", Fault::CutAfter(5_000), 1);
    let cut = run(export(&client, "team/app:1")).unwrap_err();
    assert_eq!(cut.kind(), Kind::Network, "{cut}");
    let line = b"{\"errorDetail\":{\"message\":\"disk on fire\"},\"error\":\"disk on fire\"}";
    engine.fault("GET", "/get", Fault::Body([&archive[..3_000], line].concat()), 1);
    let told = run(export(&client, "team/app:1")).unwrap_err();
    assert!(told.to_string().contains("disk on fire"), "{told}");
}

#[test]
fn names_are_given_and_taken() {
    let (engine, image) = with_image();
    let client = client(&engine);
    let name = ImageName::parse("other/app").unwrap();
    run(client.tag("team/app:1", &name)).unwrap();
    assert_eq!(engine.id("other/app:latest"), Some(image.id().to_string()));
    assert!(run(client.untag("other/app:latest")).unwrap());
    assert!(!run(client.untag("other/app:latest")).unwrap());
    assert_eq!(run(client.tag("none", &name)).unwrap_err().kind(), Kind::NotFound);
}

/// Pieces of 10 kB, more than fit any buffer.
async fn write(load: &mut Load, pieces: usize) -> Result<()> {
    for _ in 0..pieces {
        load.write(Bytes::from(vec![7; 10_000])).await?;
    }
    Ok(())
}

#[test]
fn a_load_arrives_as_it_was_written() {
    let engine = Engine::start();
    let loaded = run(async {
        let mut load = load(&engine);
        for piece in ["one", "", "two", "three"] {
            load.write(piece.into()).await?;
        }
        write(&mut load, 300).await?;
        load.finish().await
    });
    assert_eq!(loaded.unwrap().names, ["test:1"]);
    let all = [b"onetwothree".as_slice(), &[7; 3_000_000]].concat();
    assert!(engine.loaded() == [Bytes::from(all)]);
}

#[test]
fn an_engine_that_is_slow_is_waited_for() {
    let engine = Engine::start();
    engine.slow(Duration::from_millis(4));
    run(async {
        let mut load = load(&engine);
        write(&mut load, 300).await.unwrap();
        // No more than the socket and a few pieces are ahead of the engine.
        assert!(engine.received() > 1_000_000, "{} bytes", engine.received());
        load.finish().await.unwrap();
    });
    assert_eq!(engine.received(), 3_000_000);
}

#[test]
fn an_abandoned_load_is_not_loaded() {
    for pieces in [0, 1, 300] {
        let engine = Engine::start();
        run(async {
            let mut load = load(&engine);
            write(&mut load, pieces).await.unwrap();
            // The pieces that were sent arrive.
            tokio::time::sleep(Duration::from_millis(100)).await;
            drop(load);
            tokio::time::sleep(Duration::from_millis(100)).await;
        });
        assert!(engine.loaded().is_empty(), "{pieces} pieces");
        // The end of an archive was not among what the engine has seen.
        assert!(
            engine.received() <= (pieces * 10_000).saturating_sub(16 * 1024),
            "{pieces} pieces"
        );
    }
}

async fn refused(engine: &Engine, pieces: usize) -> Error {
    let mut load = load(engine);
    if let Err(error) = write(&mut load, pieces).await {
        // Another call returns the same error.
        assert_eq!(load.finish().await.unwrap_err().to_string(), error.to_string());
        return error;
    }
    load.finish().await.unwrap_err()
}

#[test]
fn a_load_that_the_engine_refuses_says_why() {
    let line = "{\"status\":\"Loading\"}\n{\"errorDetail\":{\"message\":\"no space\\u001b[2J left\"},\"error\":\"x\"}\n";
    for pieces in [1, 300] {
        let engine = Engine::start();
        engine.fault("POST", "/load", Fault::Body(line.into()), 1);
        let error = run(refused(&engine, pieces));
        assert!(error.to_string().contains("did not load the image: no space?[2J left"), "{error}");
        // In the middle of the body, too.
        engine.fault("POST", "/load", Fault::status(500), 1);
        let error = run(refused(&engine, pieces));
        assert!(error.to_string().contains("the fault that was asked for"), "{error}");
        engine.fault("POST", "/load", Fault::CutAfter(10), 1);
        assert_eq!(run(refused(&engine, pieces)).kind(), Kind::Network);
    }
}

#[test]
fn a_user_who_gives_up_is_not_kept() {
    let (engine, _) = with_image();
    for path in ["/json", "/get", "/load"] {
        for fault in
            [Fault::HangAfter(0), Fault::HangAfter(10), Fault::Delay(Duration::from_secs(60))]
        {
            engine.fault(if path == "/load" { "POST" } else { "GET" }, path, fault, 1);
        }
    }
    for _ in 0..3 {
        let cancel = Cancel::default();
        let client = Client::new(&engine.address(), &cancel).unwrap();
        run(async {
            let stop = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                cancel.cancel();
                std::future::pending::<()>().await;
            };
            let work = async {
                let started = Instant::now();
                let inspected = client.inspect("team/app:1").await.unwrap_err();
                let exported = export(&client, "team/app:1").await.unwrap_err();
                let mut load = client.load(&tokio::runtime::Handle::current());
                let _ = write(&mut load, 3).await;
                let loaded = load.finish().await.unwrap_err();
                for error in [inspected, exported, loaded] {
                    assert_eq!(error.kind(), Kind::Interrupted, "{error}");
                }
                assert!(started.elapsed() < Duration::from_secs(5));
            };
            tokio::select! { () = work => {} () = stop => {} }
        });
    }
}

#[test]
fn an_engine_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let about = |path: std::path::PathBuf| {
        let client = Client::new(&Address::Unix(path), &Cancel::default()).unwrap();
        run(client.about()).unwrap_err()
    };
    let error = about(folder.path().join("none.sock"));
    assert_eq!(error.kind(), Kind::Network);
    assert!(error.to_string().contains("no such file"), "{error}");
    assert!(error.hint_text().unwrap().contains("?socket="), "{error:?}");
    let stale = folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&stale).unwrap());
    assert!(about(stale).to_string().contains("connection refused"));
}

#[test]
fn an_engine_behind_tls() {
    // A registry is not an engine and says so, but only to a client that uses TLS and trusts it.
    let server = Registry::start_tls();
    let folder = tempfile::tempdir().unwrap();
    let about = || {
        let port = server.url_host().rsplit_once(':').unwrap().1.to_owned();
        let certificates = Some(folder.path().to_owned());
        let address = Address::Tcp { authority: format!("localhost:{port}"), certificates };
        Client::new(&address, &Cancel::default())
            .and_then(|client| run(client.about()))
            .unwrap_err()
    };
    let missing = about();
    assert!(missing.to_string().contains("ca.pem"), "{missing}");
    assert!(missing.hint_text().unwrap().contains("DOCKER_CERT_PATH"), "{missing:?}");

    let own = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
    let write = |name: &str, pem: &str| std::fs::write(folder.path().join(name), pem).unwrap();
    write("cert.pem", &own.cert.pem());
    write("key.pem", &own.signing_key.serialize_pem());
    write("ca.pem", &own.cert.pem());
    let strange = about();
    assert!(strange.to_string().contains("no TLS connection"), "{strange}");
    assert_eq!(server.requests().len(), 0);

    write("ca.pem", server.certificate());
    let trusted = about();
    assert!(trusted.to_string().contains("answered 404"), "{trusted}");
    assert_eq!(server.requests_of("GET", "/version").len(), 1);
}

#[test]
fn answers_that_make_no_sense() {
    let (engine, _) = with_image();
    for (fault, says) in [
        (Fault::Html, "an answer that the Docker Engine API does not describe"),
        (Fault::Body(b"{\"Id\":\"sha256:0\"}".to_vec()), "digest"),
        (Fault::Chunked(vec![b' '; 17 * 1024 * 1024]), "at most 16777216 bytes"),
        (Fault::status(500), "the fault that was asked for"),
    ] {
        engine.fault("GET", "/json", fault, 1);
        let error = run(client(&engine).inspect("team/app:1")).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
    engine.fault("GET", "/json", Fault::status(403), ALWAYS);
    let error = run(client(&engine).inspect("team/app:1")).unwrap_err();
    assert_eq!(error.kind(), Kind::Auth);
}
