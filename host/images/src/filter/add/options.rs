//! The options of the filter `add`.

use std::path::PathBuf;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::Spec;
use occystrap_base::error::Result;
use occystrap_layer::tar::member::plain;

/// The variable with which reproducible builds pass their time
/// (<https://reproducible-builds.org/specs/source-date-epoch/>).
const VARIABLE: &str = "SOURCE_DATE_EPOCH";

/// The options, parsed.
pub struct Options {
    /// Files of this machine, each with its path in the image: a plain one.
    pub files: Vec<(PathBuf, Vec<u8>)>,
    /// The permission bits of every regular file.
    pub mode: Option<u32>,
    /// The numbers of owner and group of everything that is added.
    pub owner: (i64, i64),
    /// The modification time, in seconds since 1970.
    pub time: i64,
    /// The same time as a text, for the history.
    pub created: String,
    /// The value of the variable, if it gave the time.
    pub from_environment: Option<String>,
}

impl Options {
    /// Parses the options. An option takes precedence over the environment.
    pub fn parse(spec: &Spec, environment: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        spec.only(&["file", "path", "mode", "owner", "ts", "timestamp"])?;
        let (files, paths) = (spec.all("file"), spec.all("path"));
        if files.is_empty() || files.len() != paths.len() || files.contains(&"") {
            let message = format!(
                "each file needs a path in the image: found {} of 'file' and {} of 'path'",
                files.len(),
                paths.len()
            );
            return Err(spec.error(message).hint("such as add:file=app.conf,path=/etc/app.conf"));
        }
        let files = files.into_iter().zip(paths).map(|(file, path)| Self::pair(spec, file, path));
        let typed = match (spec.one("ts")?, spec.one("timestamp")?) {
            (Some(_), Some(_)) => return Err(spec.error("'ts' and 'timestamp' are the same")),
            (one, other) => one.or(other).map(|text| ("ts", text.to_owned())),
        };
        let variable = || environment(VARIABLE).filter(|text| !text.is_empty());
        let from_environment = if typed.is_none() { variable() } else { None };
        let text = typed.or_else(|| from_environment.clone().map(|text| (VARIABLE, text)));
        let (name, text) = text.unwrap_or(("ts", "0".to_owned()));
        let seconds = text.parse().ok();
        let time = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let created = time.and_then(|time| time.format(&Rfc3339).ok());
        let (Some(time), Some(created)) = (time, created) else {
            return Err(spec.error(format!("{name}={text}: expected whole seconds since 1970")));
        };
        Ok(Self {
            files: files.collect::<Result<_>>()?,
            mode: mode(spec)?,
            owner: owner(spec)?,
            time: time.unix_timestamp(),
            created,
            from_environment,
        })
    }

    /// Returns a file and its path in the image. A path that ends with a slash is the folder of the file.
    fn pair(spec: &Spec, file: &str, path: &str) -> Result<(PathBuf, Vec<u8>)> {
        let source = PathBuf::from(file);
        let into = path.ends_with('/') && !source.is_dir();
        let path = match source.file_name().filter(|_| into) {
            Some(name) => [path.as_bytes(), name.as_encoded_bytes()].concat(),
            None => path.as_bytes().to_vec(),
        };
        let parts = path.split(|byte| *byte == b'/');
        if parts.into_iter().any(|part| part == b"..") {
            let shown = String::from_utf8_lossy(&path);
            return Err(spec.error(format!("path={shown}: must not contain '..'")));
        }
        let path = plain(&path);
        if path.is_empty() && !source.is_dir() {
            return Err(spec
                .error("the path of a file is missing")
                .hint(format!("such as add:file={file},path=/etc/")));
        }
        Ok((source, path))
    }
}

/// Parses permission bits in octal.
fn mode(spec: &Spec) -> Result<Option<u32>> {
    let Some(text) = spec.one("mode")? else { return Ok(None) };
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
    mode.map(Some).ok_or_else(|| {
        spec.error(format!("mode={text}: expected permission bits in octal"))
            .hint("such as mode=0644, or mode=4755 with set-user-ID")
    })
}

/// Parses `UID` or `UID:GID`. The group of a number alone is the same number, as in `COPY --chown`.
fn owner(spec: &Spec) -> Result<(i64, i64)> {
    let Some(text) = spec.one("owner")? else { return Ok((0, 0)) };
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    match (uid.parse::<u32>(), gid.parse::<u32>()) {
        (Ok(uid), Ok(gid)) => Ok((i64::from(uid), i64::from(gid))),
        _ => Err(spec
            .error(format!("owner={text}: expected numbers"))
            .hint("such as owner=1000:1000; names differ from image to image")),
    }
}
