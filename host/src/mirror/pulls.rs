//! Images that wait because the registry of their source gives few pulls (`pulls-left`).

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use occystrap_mirror::document::HostLimits;
use occystrap_net::http::Traffic;

/// Longest time between two questions how many pulls are left.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Parts of the registry's window after which it is asked again: some pulls are given back then.
const PARTS: u32 = 60;

/// The least number of pulls that a mirror leaves at each host, and the images that wait for more.
pub struct Pulls<T> {
    /// By host of the file: the name that requests have, and the least number.
    least: BTreeMap<String, (String, u64)>,
    waiting: BTreeMap<String, Waiting<T>>,
}

struct Waiting<T> {
    until: Instant,
    images: VecDeque<T>,
}

impl<T> Pulls<T> {
    /// Starts with the limits of a file. `request_host` returns the name that requests to a host have.
    pub fn new(limits: &[HostLimits], request_host: impl Fn(&str) -> Option<String>) -> Self {
        let least = limits.iter().filter_map(|host| {
            let name = request_host(&host.host)?;
            Some((host.host.clone(), (name, u64::from(host.pulls_left?))))
        });
        Self { least: least.collect(), waiting: BTreeMap::new() }
    }

    /// Returns how many pulls a host still gives and for how long none of its images is moved, if these are fewer than the
    /// file wants to leave.
    pub fn pause(&self, host: &str, traffic: &Traffic) -> Option<(u64, Duration)> {
        let (name, least) = self.least.get(host)?;
        let left = traffic.pulls_left(name).filter(|left| left.number < *least)?;
        let pause = left.window.map_or(LONGEST_PAUSE, |window| window / PARTS);
        Some((left.number, pause.clamp(Duration::from_secs(1), LONGEST_PAUSE)))
    }

    /// Lets an image wait, with the others of its host.
    pub fn wait(&mut self, host: &str, image: T, pause: Duration) {
        let until = Instant::now() + pause;
        let waiting = self
            .waiting
            .entry(host.to_owned())
            .or_insert_with(|| Waiting { until, images: VecDeque::new() });
        waiting.until = until;
        waiting.images.push_back(image);
    }

    /// Returns whether images of a host wait.
    pub fn has(&self, host: &str) -> bool {
        self.waiting.contains_key(host)
    }

    /// Returns the images of a host whose time to wait is over.
    pub fn ready(&mut self) -> Option<VecDeque<T>> {
        let now = Instant::now();
        let host = self.waiting.iter().find(|(_, waiting)| waiting.until <= now)?.0.clone();
        Some(self.waiting.remove(&host)?.images)
    }
}
