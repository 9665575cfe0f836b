//! Filters, check and search on the real image, beside Python's: whoever reads every member of every layer.

use std::path::Path;

use anyhow::Result;

use super::measure::{self, Program, Samples};
use super::table::{Table, mib};
use super::{Bench, image};

/// What is done with the image, and how many times as fast as Python it is to be.
struct Case {
    name: &'static str,
    target: f64,
    work: Work,
}

enum Work {
    /// To a directory, through a filter.
    Filter(&'static str),
    /// A command with its arguments after the source.
    Inspect(&'static str, &'static [&'static str]),
}

const FILTERS: [Case; 2] = [
    Case {
        name: "normalize-timestamps",
        target: 8.0,
        work: Work::Filter("normalize-timestamps:ts=1000000000"),
    },
    // Members begin with './', which Python's patterns have to fit.
    Case { name: "exclude", target: 8.0, work: Work::Filter("exclude:pattern=*/share/doc/*") },
];

const CHECK: [Case; 1] = [Case { name: "check", target: 4.0, work: Work::Inspect("check", &[]) }];

const SEARCH: [Case; 1] =
    [Case { name: "search", target: 4.0, work: Work::Inspect("search", &["*.so.[0-9]"]) }];

impl Bench {
    /// From the image's archive to a directory, through a filter.
    pub(super) fn filters(&self) -> Result<()> {
        self.compare_with_python("Filters, from tar to dir", &FILTERS)
    }

    /// The archive, checked in full.
    pub(super) fn check(&self) -> Result<()> {
        self.compare_with_python("A full check of the archive", &CHECK)
    }

    /// The archive, searched for a pattern that fits some of its files.
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
            let mut samples = vec![Samples::default(); programs.len()];
            for round in 0..self.runs {
                // Nobody always comes after the same one.
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
                    if ours { format!("{}", case.target) } else { String::new() },
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
