//! Every pair of ways in which a registry can answer, right or wrong: the verdict on the image is never *verified* if a
//! client gets another image or none, and always if all of them get it.

use std::sync::Mutex;

use occystrap_base::error::Kind;
use occystrap_base::oci::Digest;
use occystrap_base::oci::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};
use occystrap_images::level::Level;
use occystrap_net::registry::{Reference, RegistryClient as OurClient};
use occystrap_output::destination::remote::RepositoryReader;
use occystrap_verify::derive::registry;
use occystrap_verify::verdict::outcome::Outcome;

use crate::support::context::context;
use crate::support::image::{Pack, TestImage};
use crate::support::push::push_docker;
use crate::support::registry::{ALWAYS, Fault, Registry};
use crate::support::registry_clients::{Answer, Answers, CLIENTS, Length, Which};
use crate::support::user::User;

/// An answer with nothing wrong.
pub const RIGHT: Answer = Answer {
    status: 200,
    body: Which::New,
    digest: true,
    content_type: Some(DOCKER_MANIFEST),
    length: Length::Right,
};

/// A registry with two images, of which the tag is the newer one.
pub struct World {
    pub registry: Registry,
    pub old: Vec<u8>,
    pub new: TestImage,
    layer: Digest,
    runtime: tokio::runtime::Runtime,
    user: User,
    client: OurClient,
}

pub const NAME: &str = "a/b:1";

impl World {
    pub fn new() -> Self {
        let registry = Registry::start();
        let image = |content: &[u8]| {
            let layers = vec![crate::support::image::tar(&[("etc/motd", content)])];
            TestImage::with_layers(NAME, layers)
        };
        push_docker(&registry, &image(b"old"));
        let old = registry.manifest("a/b", "1").unwrap().1.to_vec();
        let new = image(b"new");
        push_docker(&registry, &new);
        let layer = Digest::of(&Pack::Gzip.pack(&new.layers[0]));
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
        let user = User::new();
        let client = OurClient::new(&user.settings, user.cancel.clone()).unwrap();
        Self { registry, old, new, layer, runtime, user, client }
    }

    fn verdict(&self, level: Level) -> Result<Outcome, Kind> {
        let context = context(&self.runtime);
        let host = self.registry.url_host();
        let reference = Reference::parse(&format!("{host}/{NAME}")).unwrap();
        let repository = self.client.repository(&reference, self.user.counters.clone()).unwrap();
        let remote = RepositoryReader::new(repository, &context);
        let found = registry::images(&remote, &reference, level, &context);
        found.map(|found| found[0].verification.outcome()).map_err(|error| error.kind())
    }
}

/// An answer to one kind of request.
struct Way {
    what: String,
    apply: Box<dyn Fn(&World) + Send + Sync>,
    model: Box<dyn Fn(&mut Case) + Send + Sync>,
}

/// The behaviour of a registry, as the model sees it.
struct Case {
    answers: Answers,
}

fn way(
    what: impl Into<String>,
    apply: impl Fn(&World) + Send + Sync + 'static,
    model: impl Fn(&mut Case) + Send + Sync + 'static,
) -> Way {
    Way { what: what.into(), apply: Box::new(apply), model: Box::new(model) }
}

type Field = fn(&mut Answers) -> &mut Answer;

/// Answers about a manifest to one method, by tag or by digest.
pub fn of_manifest(method: &'static str) -> Vec<(&'static str, Option<Fault>, Answer)> {
    let content_type = |said: &'static str| {
        let fault = Fault::Header("content-type", said.to_owned());
        (said, Some(fault), Answer { content_type: Some(said), ..RIGHT })
    };
    let mut all = vec![
        ("right", None, RIGHT),
        ("404", Some(Fault::status(404)), Answer { status: 404, ..RIGHT }),
        (
            "no digest",
            Some(Fault::NoHeader("docker-content-digest")),
            Answer { digest: false, ..RIGHT },
        ),
        (
            "no length",
            Some(Fault::NoHeader("content-length")),
            Answer { length: Length::Absent, ..RIGHT },
        ),
        ("no type", Some(Fault::NoHeader("content-type")), Answer { content_type: None, ..RIGHT }),
        content_type("text/plain"),
        content_type("application/json"),
        content_type(OCI_MANIFEST),
        content_type("application/vnd.oci.image.index.v1+json"),
        content_type("application/vnd.docker.distribution.manifest.v2+json; charset=utf-8"),
        content_type("APPLICATION/VND.DOCKER.DISTRIBUTION.MANIFEST.V2+JSON"),
    ];
    if method == "HEAD" {
        all.push(("405", Some(Fault::status(405)), Answer { status: 405, ..RIGHT }));
        all.push(("400", Some(Fault::status(400)), Answer { status: 400, ..RIGHT }));
        all.push(("7 bytes", Some(Fault::Length(7)), Answer { length: Length::Wrong, ..RIGHT }));
        all.push(("0 bytes", Some(Fault::Length(0)), Answer { length: Length::Wrong, ..RIGHT }));
    }
    all
}

fn manifest_axis(method: &'static str, part: &'static str, field: Field) -> Vec<Way> {
    let called = if part.ends_with('1') { "tag" } else { "digest" };
    let mut axis: Vec<Way> = of_manifest(method)
        .into_iter()
        .map(|(what, fault, answer)| {
            way(
                format!("{method} by {called}: {what}"),
                move |world| {
                    if let Some(fault) = &fault {
                        world.registry.fault(method, part, fault.clone(), ALWAYS);
                    }
                },
                move |case| *field(&mut case.answers) = answer,
            )
        })
        .collect();
    axis.push(way(
        format!("{method} by {called}: the old image"),
        move |world| {
            let fault = Fault::Manifest(DOCKER_MANIFEST, world.old.clone());
            world.registry.fault(method, part, fault, ALWAYS);
        },
        move |case| field(&mut case.answers).body = Which::Old,
    ));
    axis
}

/// No client requests a blob by HEAD before it pulls it.
fn blob_head() -> Vec<Way> {
    let ways = [
        ("right", None),
        ("no length", Some(Fault::NoHeader("content-length"))),
        ("404", Some(Fault::status(404))),
        ("405", Some(Fault::status(405))),
        ("403", Some(Fault::status(403))),
        ("503", Some(Fault::status(503))),
        ("7 bytes", Some(Fault::Length(7))),
        ("0 bytes", Some(Fault::Length(0))),
    ];
    ways.into_iter()
        .map(|(what, fault)| {
            way(
                format!("HEAD of blobs: {what}"),
                move |world| {
                    if let Some(fault) = &fault {
                        world.registry.fault("HEAD", "/blobs/", fault.clone(), ALWAYS);
                    }
                },
                |_| (),
            )
        })
        .collect()
}

/// Clients ask for a blob by a GET of all of it.
fn blob_get() -> Vec<Way> {
    let ways = [
        ("right", None),
        ("the range is ignored", Some(Fault::IgnoreRange)),
        ("ranges are refused", Some(Fault::RefuseRange)),
        ("another range", Some(Fault::Header("content-range", "bytes 0-0/*".into()))),
        ("in chunks", Some(Fault::NoHeader("content-length"))),
        ("404", Some(Fault::status(404))),
    ];
    ways.into_iter()
        .map(|(what, fault)| {
            let there = what != "404";
            way(
                format!("GET of blobs: {what}"),
                move |world| {
                    if let Some(fault) = &fault {
                        world.registry.fault("GET", "/blobs/", fault.clone(), ALWAYS);
                    }
                },
                move |case| case.answers.blobs &= there,
            )
        })
        .collect()
}

fn blob_kept() -> Vec<Way> {
    vec![
        way("the layer is whole", |_| (), |_| ()),
        way(
            "the layer was cut, and told of as whole",
            |world| world.registry.shorten_blob(world.layer, 20),
            |case| case.answers.blobs = false,
        ),
        way(
            "all of the layer is gone, and told of as there",
            |world| world.registry.shorten_blob(world.layer, 0),
            |case| case.answers.blobs = false,
        ),
        way(
            "the layer was cut",
            |world| {
                let cut = &Pack::Gzip.pack(&world.new.layers[0])[..20];
                world.registry.set_blob("a/b", world.layer, cut);
            },
            |case| case.answers.blobs = false,
        ),
    ]
}

/// Checks that the model and the verdict agree; if not, returns both in words.
fn compare(world: &World, ways: [&Way; 2]) -> Result<(), String> {
    let answers = Answers { head_tag: RIGHT, get_tag: RIGHT, get_digest: RIGHT, blobs: true };
    let mut case = Case { answers };
    world.registry.mend();
    world.registry.set_blob("a/b", world.layer, Pack::Gzip.pack(&world.new.layers[0]));
    for way in ways {
        (way.apply)(world);
        (way.model)(&mut case);
    }
    let pulled = CLIENTS.map(|client| (client.name, client.pulls(&case.answers, DOCKER_MANIFEST)));
    // Without a receipt, what all of them get is what the tag stands for.
    let all_get_it = pulled.iter().all(|(_, it)| it.is_some() && *it == pulled[0].1);
    for level in [Level::Fast, Level::Full] {
        let verdict = world.verdict(level);
        let is_right = match all_get_it {
            true => verdict == Ok(Outcome::Verified),
            // No error here is one of the network.
            false => matches!(verdict, Ok(Outcome::Failed) | Err(Kind::NotFound | Kind::Source)),
        };
        if !is_right {
            let [one, other] = ways.map(|way| way.what.as_str());
            return Err(format!("{one} + {other}: {level:?}: {verdict:?}, clients {pulled:?}"));
        }
    }
    Ok(())
}

#[test]
fn verified_is_what_every_client_gets() {
    let axes: [Vec<Way>; 6] = [
        manifest_axis("HEAD", "/manifests/1", |answers| &mut answers.head_tag),
        manifest_axis("GET", "/manifests/1", |answers| &mut answers.get_tag),
        manifest_axis("GET", "/manifests/sha256", |answers| &mut answers.get_digest),
        blob_head(),
        blob_get(),
        blob_kept(),
    ];
    let mut pairs = Vec::new();
    for (index, axis) in axes.iter().enumerate() {
        for other in &axes[index + 1..] {
            pairs.extend(axis.iter().flat_map(|one| other.iter().map(move |two| [one, two])));
        }
    }
    assert!(pairs.len() > 700, "{}", pairs.len());
    let (next, wrong) = (Mutex::new(pairs.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let world = World::new();
                loop {
                    let Some(pair) = next.lock().unwrap().next() else { return };
                    if let Err(why) = compare(&world, pair) {
                        wrong.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}
