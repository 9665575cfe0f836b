//! Limits of a mirror: the pulls that a registry gives, and the time of a run.

use std::time::{Duration, Instant};

use crate::support::cli::Sandbox;
use crate::support::mirrored::{FILE, Mirrored, mirror};
use crate::support::registry::{ALWAYS, Fault, Registry};

/// The header of Docker Hub. A window of a minute is asked for again after a second.
fn pulls(number: u32) -> Fault {
    Fault::Header("ratelimit-remaining", format!("{number};w=60"))
}

/// Returns a registry with images, `tags` in each of the repositories, one without, and a folder with the file of a mirror
/// from one to the other. `more` gets the two hosts, and returns the end of the file.
fn stage(
    (repositories, tags): (usize, usize),
    more: impl FnOnce(&str, &str) -> String,
) -> (Registry, Registry, Sandbox) {
    let (source, destination, sandbox) = (Registry::start(), Registry::start(), Sandbox::new());
    let many = Mirrored::at(&source, repositories, tags);
    many.write_file(&sandbox, &format!("{}/mirror/{{name}}", destination.url_host()), &[]);
    let text = std::fs::read_to_string(sandbox.path(FILE)).unwrap();
    let more = more(&source.url_host(), &destination.url_host());
    std::fs::write(sandbox.path(FILE), text + &more).unwrap();
    (source, destination, sandbox)
}

#[test]
fn pulls_that_the_file_leaves_are_waited_for() {
    let (source, _destination, sandbox) =
        stage((1, 4), |source, _| format!("hosts:\n  {source}: {{pulls-left: 5}}\n"));
    // The first image leaves 4 pulls; two questions later there are more.
    source.fault("GET", "/manifests/", pulls(4), 1);
    source.fault("HEAD", "/manifests/", pulls(4), 2);
    source.fault("HEAD", "/manifests/", pulls(50), ALWAYS);
    let began = Instant::now();
    let ran = mirror(&sandbox, "run", &["--image-parallel", "1"]);
    ran.exits(0).says("4/4 images").says("4 verified");
    let host = source.url_host();
    let said =
        format!("{host} gives 4 more pulls, and 'pulls-left' keeps them: asking again in 1 s");
    assert_eq!(ran.stderr.matches(&said).count(), 3, "{}", ran.stderr);
    assert!(began.elapsed() >= Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(source.requests_of("HEAD", "/manifests/").len(), 3);

    // Where nothing has to be moved, nothing waits.
    source.mend();
    source.fault("HEAD", "/manifests/", pulls(0), ALWAYS);
    let began = Instant::now();
    mirror(&sandbox, "run", &[]).exits(0).says("4 unchanged");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[test]
fn a_run_with_a_time_ends_between_images_and_the_next_one_goes_on() {
    let (_source, destination, sandbox) = stage((2, 10), |_, _| String::new());
    destination.fault("PUT", "/manifests/", Fault::Delay(Duration::from_millis(300)), ALWAYS);
    let ran = mirror(&sandbox, "run", &["--image-parallel", "1", "--max-duration", "1s"]);
    ran.exits(130).says(
        "The time is over. What is done is recorded; 'occystrap mirror run mirror.yaml' goes on",
    );
    assert!(!ran.stderr.contains("FAILED") && !ran.stderr.contains("0/20"), "{}", ran.stderr);
    mirror(&sandbox, "status", &[]).exits(0).prints("stopped");
    destination.mend();
    let done = destination.requests_of("PUT", "/manifests/").len();
    mirror(&sandbox, "run", &["--max-duration", "1h"]).exits(0).says("20/20 images");
    assert_eq!(destination.requests_of("PUT", "/manifests/").len(), 20, "{done} were there");
}

#[test]
fn an_image_waits_as_long_as_its_server_asks_for() {
    let (source, _destination, sandbox) = stage((1, 1), |_, _| String::new());
    source.fault("GET", "/manifests/", Fault::too_many("600"), ALWAYS);
    let flags = ["--retries", "0", "--max-duration", "1s", "-O", "jsonl"];
    let ran = mirror(&sandbox, "run", &flags);
    ran.exits(130).says("later ").says(": again in 10m00s").says("answered 429");
    let events = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap());
    let events: Vec<serde_json::Value> = events.collect();
    let retry = events.iter().find(|event| event["event"] == "retry").unwrap();
    assert_eq!(retry["seconds"], 600);
    // The next run asks for it again at its time.
    let before = source.requests_of("GET", "/manifests/").len();
    mirror(&sandbox, "run", &["--max-duration", "1s"]).exits(130);
    assert_eq!(source.requests_of("GET", "/manifests/").len(), before);
}

/// The commands that ask registries, in an order in which each has something to ask.
const COMMANDS: [&[&str]; 6] = [
    &["plan"],
    &["run", "--image-parallel", "4"],
    &["verify", "--full"],
    &["repair"],
    &["prune"],
    &["prune", "--yes"],
];

#[test]
fn a_host_gets_no_more_requests_a_second_than_the_file_says() {
    let limit = "{requests-per-second: 20}";
    let (source, destination, sandbox) = stage((1, 4), |source, destination| {
        format!("prune: {{extra: delete}}\nhosts:\n  {source}: {limit}\n  {destination}: {limit}\n")
    });
    for command in COMMANDS {
        let before = [&source, &destination].map(|registry| registry.requests().len());
        mirror(&sandbox, command[0], &command[1..]).exits(0);
        for (registry, before) in [&source, &destination].into_iter().zip(before) {
            let requests = &registry.requests()[before..];
            let [first, .., last] = requests else { continue };
            let took = last.at - first.at;
            let least = Duration::from_millis(50 * (requests.len() as u64 - 1)).mul_f64(0.95);
            assert!(took >= least, "{command:?}: {} requests in {took:?}", requests.len());
        }
    }
}

#[test]
fn a_plan_uses_no_more_connections_than_the_file_says() {
    let (source, _destination, sandbox) =
        stage((8, 1), |source, _| format!("hosts:\n  {source}: {{connections: 1}}\n"));
    source.fault("GET", "/tags/list", Fault::Delay(Duration::from_millis(100)), ALWAYS);
    source.fault("HEAD", "/manifests/", Fault::Delay(Duration::from_millis(100)), ALWAYS);
    let began = Instant::now();
    mirror(&sandbox, "plan", &[]).exits(0).prints("8 new");
    assert!(began.elapsed() >= Duration::from_millis(1_600), "{:?}", began.elapsed());
}
