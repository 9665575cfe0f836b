//! Measures the commands that read every member of every layer: filters, check and search, on the real image, and
//! compares them with Python occystrap.

use std::path::Path;

use anyhow::Result;

use super::measure::{self, Program, Samples};
use super::table::{Table, mib};
use super::{Bench, image};

/// A measurement.
struct Case {
    name: &'static str,
    /// How many times as fast as Python occystrap it should be; `None` where Python occystrap has nothing to compare.
    target: Option<f64>,
    work: Work,
}

enum Work {
    /// `process` to a directory, with a filter.
    Filter(&'static str),
    /// A command, with the arguments that follow the source.
    Inspect(&'static str, &'static [&'static str]),
}

const FILTERS: [Case; 3] = [
    Case {
        name: "normalize-timestamps",
        target: Some(8.0),
        work: Work::Filter("normalize-timestamps:ts=1000000000"),
    },
    // The names of members begin with './', and Python's patterns must match that as well.
    Case {
        name: "exclude",
        target: Some(8.0),
        work: Work::Filter("exclude:pattern=*/share/doc/*"),
    },
    // It should take at most 1.3 times as long as the two above.
    Case { name: "canonical", target: None, work: Work::Filter("canonical") },
];

const CHECK: [Case; 1] =
    [Case { name: "check", target: Some(4.0), work: Work::Inspect("check", &[]) }];

const SEARCH: [Case; 1] =
    [Case { name: "search", target: Some(4.0), work: Work::Inspect("search", &["*.so.[0-9]"]) }];

impl Bench {
    /// Measures `process` from the image's archive to a directory, with a filter.
    pub(super) fn filters(&self) -> Result<()> {
        self.compare_with_python("Filters, from tar to dir", &FILTERS)
    }

    /// Measures a full check of the archive.
    pub(super) fn check(&self) -> Result<()> {
        self.compare_with_python("A full check of the archive", &CHECK)
    }

    /// Measures a search in the archive, for a pattern that matches some of its files.
    pub(super) fn search(&self) -> Result<()> {
        self.compare_with_python("A search through the archive", &SEARCH)
    }

    fn compare_with_python(&self, title: &str, cases: &[Case]) -> Result<()> {
        let source = format!("tar://{}", image::real(&self.home)?.display());
        let programs: Vec<(&str, &Path)> = [
            Some(("occystrap", self.ours.as_path())),
            self.python.as_deref().map(|python| ("Python occystrap", python)),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut table = Table::new(&[
            "",
            "seconds",
            "least",
            "most",
            "CPU seconds",
            "peak MiB",
            "times as fast",
            "target",
        ]);
        for case in cases {
            let programs = if case.target.is_some() { &programs[..] } else { &programs[..1] };
            let mut samples = vec![Samples::default(); programs.len()];
            for round in 0..self.runs {
                // Each round starts with another program, so that no program always runs after the same one.
                for index in (0..programs.len()).map(|index| (index + round) % programs.len()) {
                    let fresh = self.fresh()?;
                    measure::claim_memory()?;
                    samples[index]
                        .push(self.command(programs[index].1, case, &source, &fresh).run()?);
                }
            }
            let theirs = samples.get(1).map(|samples| samples.wall().median);
            for ((name, _), samples) in programs.iter().zip(&samples) {
                let wall = samples.wall();
                let ours = *name == "occystrap";
                let times = theirs.filter(|_| ours).map(|theirs| theirs / wall.median);
                table.row(vec![
                    format!("{}: {name}", case.name),
                    format!("{:.2}", wall.median),
                    format!("{:.2}", wall.least),
                    format!("{:.2}", wall.most),
                    format!("{:.2}", samples.cpu().median),
                    mib(samples.peak()),
                    times.map_or_else(String::new, |times| format!("{times:.1}")),
                    case.target
                        .filter(|_| ours)
                        .map_or_else(String::new, |target| target.to_string()),
                ]);
            }
        }
        println!("\n{title}, median of {}:\n\n{table}", self.runs);
        Ok(())
    }

    fn command(&self, program: &Path, case: &Case, source: &str, fresh: &Path) -> Program {
        let run = Program::new(program, &self.log);
        match case.work {
            Work::Filter(filter) => {
                let destination = format!("dir://{}", fresh.join("image").display());
                run.args(["process", source, &destination, "-f", filter])
            }
            Work::Inspect(command, more) => run.arg(command).arg(source).args(more),
        }
    }
}
