//! Measures images with one layer, small and very large: the peak memory must not depend on the size of the layer, and
//! both cores must be busy.

use anyhow::Result;

use super::docker::Dockerd;
use super::measure::Sample;
use super::push::EmptyRegistry;
use super::table::{Table, mib};
use super::{Bench, find_or_report, image, machine};

/// The uncompressed size of the layer, in bytes.
const SIZES: [(&str, u64); 2] = [("small", 100_000_000), ("large", 4_000_000_000)];

/// The sources and destinations that are measured.
const WAYS: [(&str, &str); 10] = [
    ("tar", "dir"),
    ("tar", "tar"),
    ("tar", "oci-layout"),
    ("tar", "registry"),
    ("tar", "docker"),
    ("registry", "dir"),
    ("registry", "tar"),
    ("registry", "oci-layout"),
    ("registry", "registry"),
    ("docker", "dir"),
];

/// The servers to read from and to write to.
struct Endpoints {
    empty: Option<EmptyRegistry>,
    engine: Option<Dockerd>,
}

impl Bench {
    pub(super) fn memory(&self) -> Result<()> {
        let engine = find_or_report("dockerd", "apt-get install docker.io")
            .map(|program| Dockerd::start(&program, &self.out.join("dockerd")))
            .transpose()?;
        let endpoints = Endpoints { empty: EmptyRegistry::start(self)?, engine };
        let mut table = Table::new(&[
            "one layer of",
            "100 MB: peak MiB",
            "4 GB: peak MiB",
            "seconds",
            "cores busy",
        ]);
        for (from, to) in WAYS {
            let mut row = vec![format!("{from} to {to}")];
            let mut last = None;
            for (name, size) in SIZES {
                last = self.move_one(&endpoints, from, to, name, size)?;
                row.push(last.as_ref().map_or("-".to_owned(), |sample| mib(sample.peak)));
            }
            let Some(sample) = last else { continue };
            let (wall, cpu) = (sample.wall.as_secs_f64(), sample.cpu.as_secs_f64());
            row.extend([format!("{wall:.1}"), format!("{:.2}", cpu / wall)]);
            table.row(row);
        }
        println!("\nMemory, and the processor's cores at the large one (ours alone):\n\n{table}");
        Ok(())
    }

    /// Moves one image; `None` if a server that it needs is missing.
    fn move_one(
        &self,
        endpoints: &Endpoints,
        from: &str,
        to: &str,
        name: &str,
        size: u64,
    ) -> Result<Option<Sample>> {
        let archive = image::generated(&self.home, name, size)?;
        let tar = format!("tar://{}", archive.display());
        let source = match (from, &self.registry, &self.skopeo, &endpoints.engine) {
            ("tar", ..) => tar,
            ("registry", Some(registry), Some(skopeo), _) => {
                image::push(skopeo, &archive, &registry.host, name, &self.home)?;
                format!("registry://{}/bench/{name}:latest", registry.host)
            }
            ("docker", _, _, Some(engine)) => {
                let uri = engine.uri(&format!("bench/{name}:latest"));
                self.process(&tar, &uri).run()?;
                uri
            }
            _ => return Ok(None),
        };
        let fresh = self.fresh()?;
        let destination = match (to, &endpoints.empty, &endpoints.engine) {
            ("dir" | "tar" | "oci-layout", ..) => {
                format!("{to}://{}", fresh.join("image").display())
            }
            ("registry", Some(empty), _) => {
                empty.reset()?;
                format!("registry://{}/bench/{name}:latest", empty.registry.host)
            }
            ("docker", _, Some(engine)) => engine.uri(&format!("bench/{name}:latest")),
            _ => return Ok(None),
        };
        machine::sync_disks();
        self.process(&source, &destination).run().map(Some)
    }
}
