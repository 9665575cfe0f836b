//! Test stand of a plugin: a temporary folder, and the operations that all cases use.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::server::{self, Server};
use super::specimen::{self, Sample};
use super::{Stop, fail};
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::oci::{Digest, PlatformPart};
use occystrap_base::terminal::progress::Progress;
use occystrap_images::level::Level;
use occystrap_layer::image::Image;
use occystrap_net::context::Context;
use occystrap_net::http::Settings;
use occystrap_net::uri::Uri;
use occystrap_net::web::{Access, Allow, Folder, Logins};
use occystrap_output::destination::hash_memo::HashMemo;
use occystrap_output::plugin::Plugin;
use occystrap_output::plugin::bindings::verifier::{self, Finding};
use occystrap_output::plugin::description::DestinationKind as Destination;
use occystrap_output::receipt::{ImageIdentity, Receipt};
use occystrap_output::write::item::Item;
use occystrap_output::write::target::Endpoint;
use occystrap_output::write::target::Target;
use occystrap_verify::report;
use occystrap_verify::verdict::outcome::{Outcome, Outcomes};
use occystrap_verify::verify;

/// Content of a folder: size and digest of each file, by path.
pub type Tree = BTreeMap<PathBuf, String>;

/// Largest number of findings and reasons that a message names: more would only repeat.
const NAMED: usize = 3;

/// Test stand of a plugin.
pub struct Stand<'a> {
    pub plugin: &'a Plugin,
    pub context: Context,
    home: tempfile::TempDir,
    /// Web server for `home`, for a plugin that writes to one.
    server: Option<Server>,
    places: Cell<u32>,
    /// Options of every destination URI.
    options: Vec<(String, String)>,
}

impl<'a> Stand<'a> {
    pub fn new(
        plugin: &'a Plugin,
        options: &[(String, String)],
        context: &Context,
    ) -> Result<Self> {
        let scheme = plugin.schemes().first().map_or("", String::as_str);
        plugin.description().options(options, scheme)?;
        let home = tempfile::Builder::new().prefix("occystrap-").tempdir_in(&context.temp_dir);
        let home = home.map_err(|cause| {
            let place = context.temp_dir.display();
            Error::io(Kind::Destination, "make a folder in", place, &cause)
        })?;
        // Progress bars for hundreds of layers of a few bytes are of no use.
        let progress = Progress::hidden();
        let mut context = context.clone().with_progress(progress).with_import_dir(home.path());
        let server = match plugin.description().destination {
            Destination::Web => Some(Server::start(home.path())?),
            _ => None,
        };
        if let Some(server) = &server {
            let mut allow = Allow::default();
            allow.name(&format!("http://{}", server.host()))?;
            context.web = Access::new(allow, Logins::None, &Settings::default());
        }
        Ok(Self { plugin, context, home, server, places: Cell::new(0), options: options.to_vec() })
    }

    /// Returns the folder of the test images.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns a destination that does not exist yet.
    pub fn place(&self) -> Result<Target> {
        self.place_with("out", &[])
    }

    /// Returns a destination of this name, with more options.
    pub fn place_with(&self, name: &str, options: &[(String, String)]) -> Result<Target> {
        let number = self.places.replace(self.places.get() + 1);
        let folder = self.home.path().join(number.to_string());
        std::fs::create_dir(&folder).map_err(|cause| {
            Error::io(Kind::Destination, "make the folder", folder.display(), &cause)
        })?;
        let path = folder.join(name);
        let description = self.plugin.description();
        let endpoint = match description.destination {
            Destination::Web => {
                let host = self.server.as_ref().map_or("", Server::host);
                Endpoint::Web(Folder::parse(&format!("{host}/{number}/{name}"))?, None)
            }
            Destination::File => Endpoint::File(path),
            Destination::TaggedDirectory => Endpoint::TaggedDirectory(path, None),
            _ => Endpoint::Directory(path),
        };
        let scheme = self.plugin.schemes().first().map_or("", String::as_str);
        let display = format!("{scheme}://{name}");
        let options = [&self.options, options].concat();
        Ok(Target {
            plugin: self.plugin.clone(),
            endpoint,
            options: description.options(&options, scheme)?,
            lasting: display.clone(),
            again: Box::new(Uri::parse(&display)?),
            // A case may write to the same destination again.
            force: true,
            display,
        })
    }

    /// Returns an image of these layers.
    pub fn image(&self, name: &str, samples: &[Sample]) -> Result<Image> {
        specimen::image(self.home(), name, samples)
    }

    /// Writes an image.
    pub fn write(&self, handed: Item, image: &Image, target: &Target) -> Result<Receipt> {
        let identity = ImageIdentity {
            name: image.name.repository.clone(),
            tag: image.name.tag.clone(),
            id: image.id,
            part: match handed {
                Item::Listed(image) => PlatformPart::Platform(image.platform.to_string()),
                _ => PlatformPart::Whole,
            },
            artifact: false,
            left_out: Vec::new(),
        };
        self.write_as(handed, &identity, target)
    }

    /// Writes an image under an identity.
    pub fn write_as(
        &self,
        handed: Item,
        identity: &ImageIdentity,
        target: &Target,
    ) -> Result<Receipt> {
        occystrap_output::write::write(
            handed,
            identity,
            "a test image",
            target,
            None,
            &self.context,
        )
    }

    /// Writes an image. Host and plugin must find no problem, at both levels.
    pub fn lands(&self, image: &Image, target: &Target) -> std::result::Result<Receipt, Stop> {
        let receipt = self.write(Item::Image(image), image, target)?;
        self.is_there(&receipt, target)?;
        Ok(receipt)
    }

    /// Verifies: host and plugin must find no problem, at both levels.
    pub fn is_there(&self, receipt: &Receipt, target: &Target) -> std::result::Result<(), Stop> {
        for level in [Level::Fast, Level::Full] {
            let proof = verify::verify(
                receipt,
                target,
                level,
                &Outcomes::new(),
                None,
                None,
                &self.context,
            )?;
            if proof.outcome() != Outcome::Verified {
                let problems: Vec<String> = (proof.problems().take(NAMED))
                    .map(|object| format!("{}: {}", object.location, report::message(object)))
                    .collect();
                let what = format!("{} verification after the write", name(level));
                return fail(format!("{what}: {}", problems.join("; ")));
            }
        }
        Ok(())
    }

    /// Returns what only the plugin reports about a destination.
    pub fn asks(&self, receipt: &Receipt, target: &Target, level: Level) -> Result<Vec<Finding>> {
        let grant = target.open_to_read(&self.context)?;
        let session = self.plugin.verify(&grant, &HashMemo::default(), &self.context.cancel)?;
        let level = match level {
            Level::Fast => verifier::Level::Fast,
            Level::Full => verifier::Level::Full,
        };
        session.verify(&receipt.for_guest(), level)
    }

    /// Returns everything at a destination.
    pub fn tree(&self, target: &Target) -> Result<Tree> {
        let mut tree = Tree::new();
        let folder = self.folder(target);
        collect(&folder, &folder, &mut tree).map_err(|cause| {
            Error::io(Kind::Destination, "read the folder", folder.display(), &cause)
        })?;
        Ok(tree)
    }

    /// Returns the folder of a destination, or of its file.
    pub fn folder(&self, target: &Target) -> PathBuf {
        match &target.endpoint {
            Endpoint::Directory(path) | Endpoint::TaggedDirectory(path, _) => path.clone(),
            Endpoint::File(path) => path.parent().map(Path::to_owned).unwrap_or_default(),
            Endpoint::Web(folder, _) => {
                server::below(self.home.path(), folder.plain().path()).unwrap_or_default()
            }
            Endpoint::Repository(..) | Endpoint::Engine(..) => PathBuf::new(),
        }
    }

    /// Returns whether files of a failed session may remain: a web server has no transactions.
    pub fn keeps_traces(&self) -> bool {
        self.server.is_some()
    }

    /// Returns a text without the path of the temporary folder, which differs in each run.
    pub fn relative(&self, text: &str) -> String {
        text.replace(&format!("{}/", self.home.path().display()), "")
    }
}

/// Returns the name of a level for messages.
pub fn name(level: Level) -> &'static str {
    match level {
        Level::Fast => "fast",
        Level::Full => "full",
    }
}

/// Returns the first few paths in which two trees differ.
pub fn difference(before: &Tree, after: &Tree) -> Option<String> {
    let other = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let mut paths: Vec<&PathBuf> = before.keys().chain(after.keys()).filter(other).collect();
    paths.sort();
    paths.dedup();
    if paths.is_empty() {
        return None;
    }
    let named: Vec<String> =
        paths.iter().take(NAMED).map(|path| format!("'{}'", path.display())).collect();
    let more = if paths.len() > NAMED { ", ..." } else { "" };
    Some(format!("{}{more}", named.join(", ")))
}

fn collect(root: &Path, folder: &Path, tree: &mut Tree) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(cause),
    };
    for entry in entries {
        let path = entry?.path();
        let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
        let metadata = path.symlink_metadata()?;
        if metadata.is_dir() {
            tree.insert(relative, "folder".to_owned());
            collect(root, &path, tree)?;
        } else if metadata.is_file() {
            let bytes = std::fs::read(&path)?;
            tree.insert(relative, format!("{} {}", bytes.len(), Digest::of(&bytes)));
        } else {
            tree.insert(relative, "other".to_owned());
        }
    }
    Ok(())
}
