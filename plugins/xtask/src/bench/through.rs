//! Measures a proxy against the same work without one: `skopeo copy` of an image as it is, and a filter.

use anyhow::Result;

use super::measure::{Program, Samples};
use super::push::EmptyRegistry;
use super::service::Proxy;
use super::table::{Table, mib};
use super::{Bench, REAL};

/// The time is none that a file of the image has, so that each layer changes.
const FILTER: &str = "normalize-timestamps:ts=1000000000";

impl Bench {
    pub(super) fn proxy(&self) -> Result<()> {
        let (Some(source), Some(skopeo)) = (self.with_real()?, &self.skopeo) else {
            return Ok(());
        };
        let Some(empty) = EmptyRegistry::start(self)? else { return Ok(()) };
        let from = format!("{}/{REAL}", source.host);
        let copy = |host: &str| {
            Program::new(skopeo, &self.log)
                .args(["--insecure-policy", "copy", "--quiet"])
                .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
                .args([format!("docker://{from}"), format!("docker://{host}/{REAL}")])
        };
        let cases = [
            "as it is: skopeo copy",
            "as it is: skopeo copy through the proxy",
            "a filter: occystrap process",
            "a filter: skopeo copy through the proxy",
        ];
        let mut samples = [const { Vec::new() }; 4];
        let mut walls: Vec<Samples> = vec![Samples::default(); cases.len()];
        for round in 0..self.runs {
            for index in (0..cases.len()).map(|index| (index + round) % cases.len()) {
                let host = &empty.registry.host;
                let log = self.home.join("proxy.log");
                let options: &[&str] = if index == 3 { &["-f", FILTER] } else { &[] };
                let proxy = match index {
                    1 | 3 => Some(Proxy::ours(&self.ours, host, options, &log)?),
                    _ => None,
                };
                empty.reset()?;
                let program = match (index, &proxy) {
                    (_, Some(proxy)) => copy(&proxy.host),
                    (0, _) => copy(host),
                    _ => {
                        let (from, to) =
                            (format!("registry://{from}"), format!("registry://{host}/{REAL}"));
                        self.process(&from, &to).args(["-f", FILTER])
                    }
                };
                walls[index].push(program.run()?);
                if let Some(proxy) = proxy {
                    samples[index].push(proxy.usage()?);
                    proxy.stop()?;
                }
            }
        }
        let mut table =
            Table::new(&["", "seconds", "times without", "CPU seconds of the proxy", "peak MiB"]);
        for (index, name) in cases.iter().enumerate() {
            let wall = walls[index].wall().median;
            let without = walls[index / 2 * 2].wall().median;
            let cpu = samples[index].iter().map(|sample| sample.0.as_secs_f64());
            let cpu = super::measure::Spread::of(cpu).median;
            let peak = samples[index].iter().map(|sample| sample.1).max();
            table.row(vec![
                (*name).to_owned(),
                format!("{wall:.2}"),
                format!("{:.2}", wall / without),
                if cpu > 0.0 { format!("{cpu:.2}") } else { String::new() },
                peak.map_or_else(String::new, mib),
            ]);
        }
        println!("\nThe real image through a proxy, median of {}:\n\n{table}", self.runs);
        Ok(())
    }
}
