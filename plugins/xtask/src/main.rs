//! Tasks of this repository that need more than cargo. `cargo xtask help` lists them.

mod bench;
mod fixture;
mod inputs;
mod lock;
mod plugins;
mod ustar;
mod wit;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask ci                run every step that a change must pass
cargo xtask ci STEP...        run the steps with these names
cargo xtask ci --list         print the names of the steps
cargo xtask plugins           build the plugins into host/output/plugins and tests/hostile
cargo xtask plugins --check   build them and compare them with the committed files
cargo xtask fixture           write tests/fixtures/hello.tar
cargo xtask fixture --check   make it and compare it with the committed file
cargo xtask wit --check       compare the plugin interface with its releases
cargo xtask wit --release     keep a copy of the interface, and two plugins built against it, as a release
              --release --again    replace the copy of this version, as long as it is not published
";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["plugins"] => plugins::write(),
        ["plugins", "--check"] => plugins::check(),
        ["fixture"] => fixture::write(),
        ["fixture", "--check"] => fixture::check(),
        ["wit", "--check"] => wit::check(),
        ["wit", "--release"] => wit::release(false),
        ["wit", "--release", "--again"] => wit::release(true),
        ["ci", steps @ ..] => ci(steps),
        ["bench", options @ ..] => bench::run(&plugins::root()?, options),
        ["help"] | [] => {
            print!("{HELP}{}", bench::HELP);
            Ok(())
        }
        other => bail!("unknown task '{}'; try 'cargo xtask help'", other.join(" ")),
    }
}

/// Runs `.ci/run`, which is the only list of the steps.
fn ci(steps: &[&str]) -> Result<()> {
    let script = plugins::root()?.join(".ci/run");
    let status = std::process::Command::new(&script).args(steps).status()?;
    // The script has said which step failed.
    std::process::exit(status.code().unwrap_or(1));
}
