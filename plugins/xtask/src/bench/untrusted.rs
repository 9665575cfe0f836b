//! Measures `verify --untrusted` with many small receipts in one run, as on a host that many users share.

use anyhow::{Context, Result};

use super::measure::{Program, Samples};
use super::table::{Table, mib};
use super::{Bench, image, machine};

/// The number of receipts per run. The target is for this number.
const RECEIPTS: usize = 1_000;

/// The number of images that the receipts describe. More images would not change the result.
const IMAGES: usize = 10;

impl Bench {
    /// Measures receipts of one-layer images, written by the built-in output `dir`, with several numbers of parallel
    /// verifications.
    pub(super) fn untrusted(&self) -> Result<()> {
        let archive = image::generated(&self.home, "tiny", 10_000)?;
        let source = format!("tar://{}", archive.display());
        let root = image::fresh(&self.out.join("untrusted"))?;
        let mut receipts = Vec::with_capacity(RECEIPTS);
        for index in 0..IMAGES {
            let receipt = root.join(format!("{index}.json"));
            let destination = format!("dir://{}", root.join(index.to_string()).display());
            Program::new(&self.ours, &self.log)
                .args(["process", &source, &destination, "--receipt"])
                .arg(&receipt)
                .run()?;
            let text = std::fs::read(&receipt).with_context(|| receipt.display().to_string())?;
            for copy in 0..RECEIPTS / IMAGES {
                let path = root.join(format!("{index}-{copy}.json"));
                std::fs::write(&path, &text)?;
                receipts.push(path);
            }
        }
        machine::sync_disks();
        let widths = ["1", "2", "4"];
        let mut samples = vec![Samples::default(); widths.len()];
        // The cases take turns, so that a slow moment affects all of them.
        for round in 0..self.runs * widths.len() {
            let case = round % widths.len();
            let program = Program::new(&self.ours, &self.log)
                .args(["verify", "--untrusted", "-J", widths[case], "--root"])
                .arg(&root);
            samples[case].push(program.args(&receipts).run()?);
        }
        let mut table = Table::new(&["side by side", "receipts a second", "seconds", "peak MiB"]);
        for (width, samples) in widths.iter().zip(&samples) {
            let wall = samples.wall().median;
            table.row(vec![
                format!("-J {width}"),
                format!("{:.0}", RECEIPTS as f64 / wall),
                format!("{wall:.2}"),
                mib(samples.peak()),
            ]);
        }
        println!(
            "\n{RECEIPTS} receipts of small images, 'verify --untrusted', median of {}:\n\n{table}",
            self.runs
        );
        Ok(())
    }
}
