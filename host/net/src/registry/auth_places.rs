//! The places where tools keep logins, in the order of containers-auth.json(5). Docker's places come last.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::auth_file::AuthFileFormat;

/// A place where a tool may keep logins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LoginPlace {
    File {
        path: PathBuf,
        format: AuthFileFormat,
    },
    /// An environment variable whose value has the format of Docker's `config.json`.
    Variable {
        name: &'static str,
        value: String,
    },
}

impl LoginPlace {
    /// Returns a file as a place. Its name decides its format.
    pub(super) fn file(path: PathBuf) -> Self {
        let format = AuthFileFormat::of(&path);
        Self::File { path, format }
    }

    /// Returns whether the place exists. It may be unreadable.
    pub(super) fn exists(&self) -> bool {
        match self {
            Self::File { path, .. } => path.try_exists().unwrap_or(true),
            Self::Variable { .. } => true,
        }
    }

    /// Returns the name of the place for messages.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::File { path, .. } => shown(path),
            Self::Variable { name, .. } => format!("${name}"),
        }
    }
}

/// Returns a path for messages, with `~` for the home directory.
pub(super) fn shown(path: &Path) -> String {
    let home = std::env::home_dir().filter(|home| home.parent().is_some());
    match home.and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

/// Returns all places, in the order in which they are searched.
pub(super) fn places(
    variable: impl Fn(&str) -> Option<OsString>,
    home: Option<PathBuf>,
) -> Vec<LoginPlace> {
    let path = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = home.filter(|home| home.is_absolute());
    let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
    let config = path("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    let docker = path("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    let user = rustix::process::getuid().as_raw();
    let containers = |path: PathBuf| LoginPlace::File { path, format: AuthFileFormat::Containers };
    // The docker command and GitLab's runner read this variable.
    let inline = || {
        let name = "DOCKER_AUTH_CONFIG";
        let value = variable(name)?.into_string().ok().filter(|value| !value.trim().is_empty())?;
        Some(LoginPlace::Variable { name, value })
    };
    [
        path("REGISTRY_AUTH_FILE").map(LoginPlace::file),
        path("XDG_RUNTIME_DIR").map(|dir| containers(dir.join("containers/auth.json"))),
        // Podman writes here when XDG_RUNTIME_DIR is not set: as root, in cron and in CI.
        Some(containers(format!("/run/containers/{user}/auth.json").into())),
        config.map(|dir| containers(dir.join("containers/auth.json"))),
        inline(),
        docker.map(|dir| LoginPlace::File {
            path: dir.join("config.json"),
            format: AuthFileFormat::Docker,
        }),
        below_home(".dockercfg")
            .map(|path| LoginPlace::File { path, format: AuthFileFormat::Legacy }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_of_podman_and_docker() {
        let own = format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw());
        let with = |set: &[(&str, &str)], home: Option<&str>| {
            let set: Vec<_> = set.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
            let variable =
                |name: &str| set.iter().find(|(key, _)| key == name).map(|(_, value)| value.into());
            let found = places(variable, home.map(PathBuf::from));
            let found = found.iter().map(|place| match place {
                LoginPlace::File { path, .. } => path.display().to_string(),
                variable => variable.shown(),
            });
            found.collect::<Vec<_>>().join(" ")
        };
        let below_home = "/h/.config/containers/auth.json /h/.docker/config.json /h/.dockercfg";
        for (set, home, expected) in [
            (&[][..], Some("/h"), format!("{own} {below_home}")),
            (
                &[("XDG_RUNTIME_DIR", "/x")],
                Some("/h"),
                format!("/x/containers/auth.json {own} {below_home}"),
            ),
            (&[("XDG_RUNTIME_DIR", "")], Some("/h"), format!("{own} {below_home}")),
            (
                &[
                    ("DOCKER_CONFIG", "/d"),
                    ("XDG_CONFIG_HOME", "/c"),
                    ("XDG_RUNTIME_DIR", "/x"),
                    ("REGISTRY_AUTH_FILE", "/r"),
                    ("DOCKER_AUTH_CONFIG", "{}"),
                ],
                Some("/h"),
                format!(
                    "/r /x/containers/auth.json {own} /c/containers/auth.json $DOCKER_AUTH_CONFIG \
                     /d/config.json /h/.dockercfg"
                ),
            ),
            (&[], Some(""), own.clone()),
            (&[], None, own.clone()),
        ] {
            assert_eq!(with(set, home), expected, "{set:?}");
        }
    }
}
