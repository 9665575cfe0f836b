//! The programs that are compared, and how they are found.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::measure::Program;

/// The release of Python occystrap that the targets refer to.
const PYTHON_RELEASE: &str = "0.4.17";

/// The output of a pull.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Dir,
    Tar,
}

impl Output {
    pub fn name(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Tar => "tar",
        }
    }

    /// Returns the path of the output in a fresh folder.
    pub fn path(self, fresh: &Path) -> PathBuf {
        match self {
            Self::Dir => fresh.join("image"),
            Self::Tar => fresh.join("image.tar"),
        }
    }
}

/// A program that can pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    Ours(PathBuf),
    OursUnverified(PathBuf),
    Python(PathBuf),
    Skopeo(PathBuf),
}

impl Peer {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "occystrap",
            Self::OursUnverified(_) => "occystrap --no-verify",
            Self::Python(_) => "Python occystrap",
            Self::Skopeo(_) => "skopeo copy",
        }
    }

    /// Returns the program that pulls `image` (repository and tag) from a registry into a fresh folder.
    pub fn pull(
        &self,
        host: &str,
        image: &str,
        output: Output,
        fresh: &Path,
        log: &Path,
    ) -> Program {
        let path = output.path(fresh);
        let path = path.display();
        let scheme = output.name();
        let source = format!("registry://{host}/{image}");
        let destination = format!("{scheme}://{path}");
        match self {
            Self::Ours(program) => {
                Program::new(program, log).args(["--insecure", "process", &source, &destination])
            }
            Self::OursUnverified(program) => Program::new(program, log).args([
                "--insecure",
                "process",
                "--no-verify",
                &source,
                &destination,
            ]),
            Self::Python(program) => {
                Program::new(program, log).args(["--insecure", "process", &source, &destination])
            }
            Self::Skopeo(program) => {
                let destination = match output {
                    Output::Dir => format!("dir:{path}"),
                    Output::Tar => format!("docker-archive:{path}:{image}"),
                };
                Program::new(program, log).args([
                    "--insecure-policy",
                    "copy",
                    "--quiet",
                    "--src-tls-verify=false",
                    &format!("docker://{host}/{image}"),
                    &destination,
                ])
            }
        }
    }
}

/// Returns the path of Python occystrap: the given one, or one that is installed into `folder` if it is missing
/// there.
pub fn python(named: Option<&Path>, folder: &Path) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let environment = folder.join(format!("python-{PYTHON_RELEASE}"));
    let program = environment.join("bin/occystrap");
    if !program.exists() {
        println!("installing Python occystrap {PYTHON_RELEASE} into {}", environment.display());
        let log = folder.join("python.log");
        Program::new("python3", &log).args(["-m", "venv"]).arg(&environment).run()?;
        Program::new(environment.join("bin/pip"), &log)
            .args(["install", "--quiet", &format!("occystrap=={PYTHON_RELEASE}")])
            .run()?;
    }
    Ok(program)
}

/// Returns the path of a program in `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Debian's servers are in /usr/bin as well, but a user's PATH need not hold sbin folders.
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}
