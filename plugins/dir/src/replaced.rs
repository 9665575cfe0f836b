//! Warnings about images that lose their place in the directory to the one that is being written.
//!
//! The same image written again replaces nothing: its config has the same digest.

use occystrap_plugin::log;
use occystrap_plugin::read_to_end;
use occystrap_plugin::storage::Directory;
use occystrap_plugin::writer::Error;

use crate::catalog::{Entry, Survey};
use crate::manifest;

/// Warns about every image that loses its name or its manifest file. `config` is the new image's file.
pub fn warn(directory: &Directory, entry: Entry, config: &str, survey: &Survey) {
    let Entry { repository, tag, file } = entry;
    let say = |message: String| log::log(log::Level::Warn, &message);
    for other in &survey.ousted {
        say(format!(
            "'{repository}:{tag}' takes the place of '{other}' in '{file}'; \
             ?unique_names=true keeps both"
        ));
    }
    if survey.more > 0 {
        let more = survey.more;
        say(format!("'{repository}:{tag}' takes the place of {more} more images in '{file}'"));
    }
    let own = survey.own.as_deref();
    let Some(old) = old_config(directory, own.unwrap_or(file)).filter(|old| old != config) else {
        return;
    };
    match own {
        Some(_) => say(format!(
            "'{repository}:{tag}' was another image here: the config is {}, it was {}",
            digest(config),
            digest(&old)
        )),
        None if survey.ousted.is_empty() => say(format!(
            "'{repository}:{tag}' takes the place of an image in '{file}' that no catalog lists; \
             ?unique_names=true keeps both"
        )),
        None => {}
    }
}

/// Errors where the file system takes this image's manifest file and another one's for one file.
pub fn refuse_one_file(directory: &Directory, entry: Entry, survey: &Survey) -> Result<(), Error> {
    let Some((image, other)) = &survey.folded else { return Ok(()) };
    let there = |file: &str| directory.stat(file).map(|stat| stat.is_some());
    // The manifests of two images differ in their names.
    if there(entry.file)?
        && there(other)?
        && directory.digest(entry.file, 0, None)? == directory.digest(other, 0, None)?
    {
        let file = entry.file;
        return Err(Error::Unrepresentable(format!(
            "this file system takes '{file}' for '{other}', the manifest of '{image}'"
        )));
    }
    Ok(())
}

/// The config that a manifest file lists. A file that is not there, or that is no manifest, is no
/// image that could be lost.
fn old_config(directory: &Directory, file: &str) -> Option<String> {
    // The catalog may say anything; the host stops a plugin that names a path outside.
    let is_name = !file.is_empty() && !file.starts_with('.') && !file.contains(['/', '\0']);
    let bytes =
        read_to_end(directory, Some(file).filter(|_| is_name)?, manifest::LONGEST).ok()??;
    manifest::parse(&bytes).map(|(config, _)| config)
}

fn digest(config: &str) -> String {
    format!("sha256:{}", config.trim_end_matches(".json"))
}
