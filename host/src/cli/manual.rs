//! The manual: one page with every command, for `man -l`, or a folder with one page per command, for packagers.
//!
//! On the single page, options of all commands appear once, at the top. In the folder, a page refers only to pages that
//! are written with it.

use std::io::{self, Write};
use std::path::Path;

use clap::Command;
use clap_mangen::Man;

/// Writes one page with a command and all its subcommands, as roff.
pub fn write(command: Command, out: &mut dyn Write) -> io::Result<()> {
    let mut command = command;
    command.build();
    let page = Man::new(command.clone());
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    let mut list = Vec::new();
    page.render_subcommands_section(&mut list)?;
    // clap refers to a page for each subcommand, which does not exist here.
    out.write_all(
        String::from_utf8_lossy(&list)
            .replace("(1)\n", "\n")
            .replace(PAGE, "occystrap ")
            .as_bytes(),
    )?;
    remarks(&command, ".SH", out)?;
    page.render_version_section(out)?;
    sections(&command, out)
}

/// Writes a page for a command and each of its subcommands, `occystrap-plugin-add.1` and so on, to a folder, which is
/// made if it does not exist.
pub fn write_pages(command: Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut command = command;
    command.build();
    write_page(&command, &[], folder)
}

fn write_page(command: &Command, above: &[&str], folder: &Path) -> io::Result<()> {
    let words = [above, &[command.get_name()]].concat();
    let (name, spoken) = (words.join("-"), words.join(" "));
    let page = Man::new(command.clone().disable_help_flag(true)).title(name.to_uppercase());
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    writeln!(text, ".SH NAME")?;
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    writeln!(text, "{} \\- {}", roff(&name), roff(&about))?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        page.render_options_section(&mut text)?;
    }
    let shown: Vec<&Command> = command
        .get_subcommands()
        .filter(|below| !below.is_hide_set() && below.get_name() != "help")
        .collect();
    if !shown.is_empty() {
        writeln!(text, ".SH SUBCOMMANDS")?;
        for below in &shown {
            let about = below.get_about().map(ToString::to_string).unwrap_or_default();
            let page = format!("{name}-{}(1)", below.get_name());
            writeln!(text, ".TP\n{}\n{}", roff(&page), roff(&about))?;
        }
    }
    remarks(command, ".SH", &mut text)?;
    environment(command, &mut text)?;
    if let Some(up) = above.last().map(|_| above.join("-")) {
        writeln!(text, ".SH SEE ALSO\n{}", roff(&format!("{up}(1)")))?;
    }
    tracing::info!("{spoken}: {name}.1");
    std::fs::write(folder.join(format!("{name}.1")), text)?;
    shown.into_iter().try_for_each(|below| write_page(below, &words, folder))
}

/// Writes the environment variables of the options.
fn environment(command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    let mut entries = shown
        .filter_map(|argument| Some((argument.get_env()?.to_str()?, argument.get_long()?)))
        .peekable();
    if entries.peek().is_some() {
        writeln!(out, ".SH ENVIRONMENT")?;
    }
    for (variable, option) in entries {
        writeln!(out, ".TP\n{variable}\n{}", roff(&format!("--{option}")))?;
    }
    Ok(())
}

/// Start of the name of a page of a subcommand, as roff.
const PAGE: &str = "occystrap\\-";

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
            // A section of that page becomes a subsection of this page.
            match line.strip_prefix(b".SH ") {
                Some(title) => out.write_all(&[b".SS ", title].concat())?,
                None => out.write_all(line)?,
            }
        }
        remarks(command, ".SS", out)?;
        sections(command, out)?;
    }
    Ok(())
}

/// Writes the text below the options of the help, line by line. A line that is not indented and ends with a colon
/// becomes a title.
fn remarks(command: &Command, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let Some(text) = command.get_after_help() else { return Ok(()) };
    let text = text.to_string();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (is_heading, is_indented) =
            (|line: &str| line.ends_with(':'), |line: &str| line.starts_with(' '));
        if line.is_empty() {
            continue;
        }
        if !is_indented(line) && is_heading(line) {
            writeln!(out, "{title} \"{}\"", line.trim_end_matches(':').to_uppercase())?;
            continue;
        }
        // Indented lines are examples and tables, which roff must not join.
        let filled = !is_indented(line);
        writeln!(out, "{}\n{}", if filled { ".PP" } else { ".nf" }, roff(line))?;
        while let Some(next) = lines.next_if(|next| match filled {
            true => !next.is_empty() && !is_indented(next) && !is_heading(next),
            false => next.is_empty() || is_indented(next),
        }) {
            writeln!(out, "{}", roff(next))?;
        }
        if !filled {
            writeln!(out, ".fi")?;
        }
    }
    Ok(())
}

/// Returns a line of text as roff, with hyphens that can be copied, and without a roff request.
fn roff(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    let request = line.starts_with(['.', '\'']);
    if request { format!("\\&{line}") } else { line }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn pages_refer_to_pages_that_are_there() {
        let folder = tempfile::tempdir().unwrap();
        write_pages(crate::cli::command(), folder.path()).unwrap();
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let mut pages = 0;
        for entry in std::fs::read_dir(folder.path()).unwrap() {
            let text = text(entry.unwrap().file_name().to_str().unwrap()).replace("\\-", "-");
            for line in text.lines().filter(|line| line.ends_with("(1)")) {
                let page = format!("{}.1", line.trim_end_matches("(1)"));
                assert!(folder.path().join(&page).is_file(), "{page}:\n{text}");
            }
            pages += 1;
        }
        assert!(pages > 12, "{pages}");
        let process = text("occystrap-process.1");
        for part in ["\nOCCYSTRAP_RETRIES\n", "\"DESTINATIONS\"", "oci\\-layout://"] {
            assert!(process.contains(part), "{part}:\n{process}");
        }
        assert!(text("occystrap.1").contains("Exit codes"));
    }

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
        // The page refers to no missing page, and has the text of the help.
        assert!(!page.contains("(1)\n") && !page.contains("EXTRA"), "{page}");
        for text in ["\noccystrap process\n", "\n.SH \"EXAMPLES\"\n", "\n.SS \"DESTINATIONS\"\n"] {
            assert!(page.contains(text), "{text}:\n{page}");
        }
    }
}
