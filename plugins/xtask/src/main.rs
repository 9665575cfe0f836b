//! Chores of this repository that need more than cargo: `cargo xtask help` lists them.

mod bench;
mod fixture;
mod inputs;
mod lock;
mod plugins;
mod ustar;
mod wit;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask plugins           build the plugins and write host/output/plugins
cargo xtask plugins --check   build them and compare with what is committed
cargo xtask fixture           write tests/fixtures/hello.tar
cargo xtask fixture --check   make it and compare with what is committed
cargo xtask wit --check       compare the plugin interface with what was released of it
cargo xtask wit --release     keep the interface, and two plugins of it, as those of its version
              --release --again    in the place of those that are there: before it is published
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
        ["bench", options @ ..] => bench::run(&plugins::root()?, options),
        ["help"] | [] => {
            print!("{HELP}{}", bench::HELP);
            Ok(())
        }
        other => bail!("unknown task '{}'; try 'cargo xtask help'", other.join(" ")),
    }
}
