//! The manual page: every command in one document, for `man -l`.
//!
//! A page a command, as git has them, would be a folder of files to install; one can be piped.
//! Options that all commands have stand once, at the top.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;

/// Write the page of a command and of all below it, as roff.
pub fn write(command: Command, out: &mut dyn Write) -> io::Result<()> {
    let mut command = command;
    command.build();
    Man::new(command.clone()).render(out)?;
    sections(&command, out)
}

fn sections(above: &Command, out: &mut dyn Write) -> io::Result<()> {
    let shown = |command: &&Command| !command.is_hide_set() && command.get_name() != "help";
    for command in above.get_subcommands().filter(shown) {
        let own = command.clone().mut_args(|argument| {
            let known = argument.is_global_set() || argument.get_id() == "help";
            if known { argument.hide(true) } else { argument }
        });
        let name = own.get_bin_name().unwrap_or_else(|| own.get_name()).to_uppercase();
        let has_options = own.get_arguments().any(|argument| !argument.is_hide_set());
        let page = Man::new(own);
        let mut text = Vec::new();
        page.render_synopsis_section(&mut text)?;
        page.render_description_section(&mut text)?;
        if has_options {
            page.render_options_section(&mut text)?;
        }
        writeln!(out, ".SH \"{name}\"")?;
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            // A section of that page is a part of this one.
            match line.strip_prefix(b".SH ") {
                Some(title) => out.write_all(&[b".SS ", title].concat())?,
                None => out.write_all(line)?,
            }
        }
        sections(command, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_command_has_a_section_and_global_options_stand_once() {
        let mut page = Vec::new();
        write(crate::cli::Cli::command(), &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for title in ["OCCYSTRAP PROCESS", "OCCYSTRAP VERIFY", "OCCYSTRAP PLUGIN SHOW"] {
            assert!(page.contains(&format!("\n.SH \"{title}\"\n")), "{title}:\n{page}");
        }
        assert_eq!(page.matches(".TH").count(), 1);
        let defined = |option: &str| {
            let entries = page.split("\n.TP\n").skip(1).filter_map(|entry| entry.lines().next());
            entries.filter(|line| line.contains(option)).count()
        };
        assert_eq!(defined(r"\-\-insecure\fR"), 1, "{page}");
        assert_eq!(defined(r"\-\-receipt\fR"), 1, "{page}");
    }
}
