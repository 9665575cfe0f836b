//! What every command is given by the process around it, and what each makes of the global options.

use super::clients::Clients;
use super::web::{self, Trust};
use crate::cli::Global;
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Result};
use occystrap_base::limits::Allowance;
use occystrap_base::oci::PlatformRequest;
use occystrap_base::terminal::progress::Progress;
use occystrap_images::source::{self, Source};
use occystrap_net::context::Context;
use occystrap_net::uri::Uri;
use occystrap_output::plugin::{Catalog, Installed, PluginEngine};

/// The process around a command.
#[derive(Clone, Copy)]
pub struct Host<'a> {
    /// What holds for every command.
    pub global: &'a Global,
    /// Hears of Ctrl-C.
    pub cancel: &'a Cancel,
    /// Where downloads and waits run.
    pub runtime: &'a tokio::runtime::Handle,
    /// The bars, or none.
    pub progress: &'a Progress,
}

impl Host<'_> {
    /// What work needs. Errors when the temporary folder is not there.
    pub fn context(&self) -> Result<Context> {
        let global = self.global;
        let temp_dir = global.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
        if !temp_dir.is_dir() {
            return Err(Error::usage(format!(
                "the temporary folder '{}' is not there",
                temp_dir.display()
            )));
        }
        // Layers that are stored elsewhere are fetched as the user reaches other servers.
        let web = web::access(&[], global, Trust::None)?;
        Ok(Context::new(self.runtime)
            .with_cancel(self.cancel.clone())
            .with_progress(self.progress.clone())
            .with_parallel(global.parallel.into())
            .with_temp_dir(temp_dir)
            .with_web(web))
    }

    /// The platform of a source that the command line asks for. Errors when it is said twice: options
    /// may stand on both sides of the command, where their parser does not see that they conflict.
    pub fn wanted(&self, source: &Uri) -> Result<PlatformRequest> {
        let Global { platform, os, architecture, variant, .. } = self.global;
        let words =
            PlatformRequest::new(os.as_deref(), architecture.as_deref(), variant.as_deref());
        let Some(platform) = platform else { return Ok(words) };
        if !words.is_nothing() {
            return Err(Error::usage(
                "--platform cannot be given with --os, --architecture or --variant",
            )
            .hint("--platform OS/ARCH[/VARIANT] says all three"));
        }
        let said = source::wanted_by(source);
        if said.is_nothing() || said.clone().or(platform) == *platform {
            return Ok(platform.clone());
        }
        let message = format!(
            "--platform says {}, '{}' says another one",
            platform.platform(),
            source.display()
        );
        Err(Error::usage(message).hint("say it once"))
    }

    /// The source that a URI names, for a command that has no destination.
    pub fn source(&self, uri: &str) -> Result<Source> {
        let clients = Clients::new(self.global, self.cancel);
        let uri = Uri::parse(uri)?;
        Source::parse(&uri, &self.wanted(&uri)?, |uri| clients.of(uri))
    }

    /// An engine for plugins, whose compilers end when the user wants to stop.
    pub fn engine(&self) -> Result<PluginEngine> {
        PluginEngine::cancelled_by(self.cancel, Allowance::default())
    }

    /// All plugins that there are for this run.
    pub fn catalog(&self) -> Result<Catalog> {
        let catalog = Catalog::new(self.engine()?, &self.global.plugin)?;
        Ok(catalog.with_installed(self.installed()))
    }

    /// Where the user's plugins are. `None` where there is no home to keep them in.
    pub fn installed(&self) -> Option<Installed> {
        let named = self.global.plugin_dir.clone();
        let named = named.filter(|folder| !folder.as_os_str().is_empty());
        named.map(Installed::at).or_else(|| Installed::of_user(|name| std::env::var_os(name)))
    }
}
