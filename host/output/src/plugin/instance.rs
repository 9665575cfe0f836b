//! A loaded plugin, and a session of it: one store each, gone after the session or a trap.

use std::sync::Arc;

use wasmtime::component::{Component, HasSelf, Linker, Resource, ResourceAny};
use wasmtime::{Store, Trap, UpdateDeadline};

use super::bindings::{self, OutputPlugin, OutputPluginPre, writer};
use super::capability::blobs::Blob;
use super::capability::edit::{Denied, Editor, Granted, Refusal};
use super::capability::wasi;
use super::description::{self, Description};
use super::permission::{self, Permission};
use super::runtime::{Compiled, Unkept};
use super::state::{State, Violation, Writing, violation};
use super::{NotLoaded, PluginEngine, user_limit};
use crate::destination::hash_memo::HashMemo;
use crate::destination::{Journal, Pending, ReadAccess};
use occystrap_base::cancel::Cancel;
use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;
use occystrap_base::oci::Digest;
use occystrap_base::warnings::Warnings;

/// A compiled plugin. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

struct Inner {
    engine: PluginEngine,
    name: Arc<str>,
    sha256: Digest,
    writing: OutputPluginPre<State>,
    verifying: OutputPluginPre<State>,
    description: Description,
    imports: Vec<String>,
    permissions: Vec<Permission>,
    /// Its machine code, where that is not in the cache.
    unkept: Option<Unkept>,
}

impl Plugin {
    /// Compile a component, derive its permissions and ask what it is. `name` is what it is called
    /// in errors until it has said so itself.
    pub fn load(engine: &PluginEngine, name: &str, bytes: &[u8]) -> Result<Self> {
        Self::try_load(engine, name, bytes).map_err(NotLoaded::into_error)
    }

    /// The same, with an error that says whether it is the cost of compiling that is too high.
    pub fn try_load(engine: &PluginEngine, name: &str, bytes: &[u8]) -> Result<Self, NotLoaded> {
        let Compiled { component, unkept } = engine.compile(name, bytes)?;
        let component_type = component.component_type();
        let imports = component_type.imports(engine.wasmtime());
        let imports: Vec<String> = imports.map(|(import, _)| import.to_owned()).collect();
        let permissions = permission::of(name, imports.iter().map(String::as_str))?;
        let unlinkable = |cause: wasmtime::Error| {
            Error::new(
                Kind::Plugin,
                format!("plugin '{name}' does not fit this version: {cause:#}"),
            )
        };
        let writing = link(engine, &component, true).map_err(unlinkable)?;
        let verifying = link(engine, &component, false).map_err(unlinkable)?;
        let name: Arc<str> = name.into();
        let description = describe(engine, &verifying, &name)?.with(&permissions);
        Ok(Self(Arc::new(Inner {
            engine: engine.clone(),
            name: description.name.as_str().into(),
            sha256: Digest::of(bytes),
            writing,
            verifying,
            description,
            imports,
            permissions,
            unkept,
        })))
    }

    /// Keeps its machine code for the next time, where it is not kept yet. To be called once the user has
    /// added the plugin, and not before.
    pub fn keep_code(&self) {
        if let Some(unkept) = &self.0.unkept {
            self.0.engine.keep(unkept);
        }
    }

    /// What it says of itself.
    #[must_use]
    pub fn description(&self) -> &Description {
        &self.0.description
    }

    /// The URI schemes it answers to.
    #[must_use]
    pub fn schemes(&self) -> &[String] {
        &self.0.description.schemes
    }

    /// Of the component.
    #[must_use]
    pub fn sha256(&self) -> Digest {
        self.0.sha256
    }

    /// What the component imports, as it spells it.
    #[must_use]
    pub fn imports(&self) -> &[String] {
        &self.0.imports
    }

    /// What it may do.
    #[must_use]
    pub fn permissions(&self) -> &[Permission] {
        &self.0.permissions
    }

    /// Start to write an image: the plugin may read and change what `pending` stands for.
    pub fn write(
        &self,
        pending: Pending,
        warnings: &Warnings,
        cancel: &Cancel,
    ) -> Result<WriteSession> {
        let mut state = self.state(cancel, HashMemo::default());
        state.warnings = warnings.clone();
        state.access = Some(pending.read_access());
        state.writing = Some(Writing { pending, journal: Journal::default() });
        let instance = Instance::start(&self.0.engine, &self.0.writing, state)?;
        Ok(WriteSession { instance, session: None })
    }

    /// Ask whether the values of options are of their form, with nothing granted. Errors name the
    /// option that is not. Whatever else is wrong with the plugin is found when it is used.
    pub fn check_options(
        &self,
        options: &[(String, String)],
        scheme: &str,
        cancel: &Cancel,
    ) -> Result<()> {
        if self.description().options.iter().all(|option| option.boolean) {
            return Ok(());
        }
        match self.try_open(options, cancel) {
            Ok(Some(name)) => Err(self.description().invalid(&name, options, scheme)),
            _ => Ok(()),
        }
    }

    /// Open a session with nothing granted, and say which option the plugin refuses; `None` where it
    /// finds no fault with them. Errors when it breaks a rule or crashes.
    pub fn try_open(
        &self,
        options: &[(String, String)],
        cancel: &Cancel,
    ) -> Result<Option<String>> {
        let state = self.state(cancel, HashMemo::default());
        let mut instance = Instance::start(&self.0.engine, &self.0.verifying, state)?;
        let request = writer::Request {
            name: writer::ImageName { repository: String::new(), tag: None },
            options: options.to_vec(),
            source_manifest: None,
            index: None,
            listed: false,
        };
        instance.call(|store, plugin| {
            let opened = plugin.occystrap_output_writer().session().call_open(store, &request)?;
            Ok(Ok(match opened {
                Err(writer::Error::InvalidOption(name)) => Some(name),
                // That nothing was granted is no fault of the options.
                _ => None,
            }))
        })
    }

    /// Ask once more what it is.
    pub fn describe_again(&self) -> Result<Description> {
        let description = describe(&self.0.engine, &self.0.verifying, &self.0.name)?;
        Ok(description.with(&self.0.permissions))
    }

    /// Start to verify: the plugin may read what was granted.
    pub fn verify(
        &self,
        access: &ReadAccess,
        memory: &HashMemo,
        cancel: &Cancel,
    ) -> Result<VerifySession> {
        let mut state = self.state(cancel, memory.clone());
        state.access = Some(access.clone());
        let instance = Instance::start(&self.0.engine, &self.0.verifying, state)?;
        Ok(VerifySession { instance })
    }

    fn state(&self, cancel: &Cancel, memory: HashMemo) -> State {
        State::new(Arc::clone(&self.0.name), cancel.clone(), memory)
    }
}

/// Ask a fresh instance what it is, with nothing granted.
fn describe(
    engine: &PluginEngine,
    pre: &OutputPluginPre<State>,
    name: &Arc<str>,
) -> Result<Description> {
    let state = State::new(Arc::clone(name), Cancel::default(), HashMemo::default());
    let mut session = Instance::start(engine, pre, state)?;
    let raw = session
        .call(|store, plugin| Ok(Ok(plugin.occystrap_output_writer().call_describe(store)?)))?;
    description::check(raw, name)
}

fn link(
    engine: &PluginEngine,
    component: &Component,
    write: bool,
) -> wasmtime::Result<OutputPluginPre<State>> {
    let mut linker = Linker::<State>::new(engine.wasmtime());
    bindings::types::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::log::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::blobs::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::entries::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::storage::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::registry::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::engine::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    bindings::http_in::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    if write {
        bindings::storage_edit::add_to_linker::<State, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
        bindings::registry_push::add_to_linker::<State, Granted>(&mut linker, |state| {
            Editor(state)
        })?;
        bindings::engine_load::add_to_linker::<State, Granted>(&mut linker, |state| Editor(state))?;
        bindings::http_out::add_to_linker::<State, Granted>(&mut linker, |state| Editor(state))?;
    } else {
        bindings::storage_edit::add_to_linker::<State, Denied>(&mut linker, |state| {
            Refusal(state)
        })?;
        bindings::registry_push::add_to_linker::<State, Denied>(&mut linker, |state| {
            Refusal(state)
        })?;
        bindings::engine_load::add_to_linker::<State, Denied>(&mut linker, |state| Refusal(state))?;
        bindings::http_out::add_to_linker::<State, Denied>(&mut linker, |state| Refusal(state))?;
    }
    wasi::link(&mut linker, engine, component)?;
    OutputPluginPre::new(linker.instantiate_pre(component)?)
}

/// A running instance.
struct Instance {
    store: Store<State>,
    plugin: OutputPlugin,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.store.data_mut().end_lines();
        let State { plugin, clock, .. } = self.store.data();
        tracing::debug!(
            guest_us = clock.guest_time().as_micros() as u64,
            host_calls = clock.calls(),
            "session of plugin '{plugin}' ended"
        );
    }
}

impl Instance {
    fn start(
        engine: &PluginEngine,
        pre: &OutputPluginPre<State>,
        mut state: State,
    ) -> Result<Self> {
        engine.tick();
        state.allowance = engine.allowance();
        let name = Arc::clone(&state.plugin);
        let mut store = Store::new(engine.wasmtime(), state);
        store.limiter(|state| &mut state.limits);
        store.set_hostcall_fuel(limits::CALL_BYTES);
        store.set_max_component_handles(limits::HANDLES);
        store.call_hook(|mut context, border| {
            let state = context.data_mut();
            state.clock.cross(border);
            let most = state.allowance.host_calls;
            if state.clock.calls() > most {
                return Err(state.violation(format!("it made more than {most} calls")));
            }
            Ok(())
        });
        let cpu_time = engine.allowance().cpu_time;
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |mut context| {
            let state = context.data_mut();
            state.clock.tick();
            if let Err(stop) = state.cancel.check() {
                return Err(wasmtime::Error::new(Violation(stop)));
            }
            state.check_host_time()?;
            if state.clock.computed() > cpu_time {
                let rule = format!("it computed for more than {cpu_time:?}");
                return Err(state.violation(rule));
            }
            Ok(UpdateDeadline::Continue(1))
        });
        match pre.instantiate(&mut store) {
            Ok(plugin) => Ok(Self { store, plugin }),
            Err(cause) => Err(trapped(&name, &cause)),
        }
    }

    /// One call of the guest. What the host knows of a failure comes before what the guest says.
    fn call<T>(
        &mut self,
        call: impl FnOnce(
            &mut Store<State>,
            &OutputPlugin,
        ) -> wasmtime::Result<Result<T, writer::Error>>,
    ) -> Result<T> {
        let result = call(&mut self.store, &self.plugin);
        let state = self.store.data_mut();
        match result {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(said)) => {
                let host = matches!(said, writer::Error::Host(_));
                let noted = state.noted.take().filter(|_| host);
                let why = state.failure.take().or(noted);
                Err(why.unwrap_or_else(|| refused(&state.plugin, said)))
            }
            Err(cause) => match cause.downcast_ref::<Violation>() {
                Some(Violation(error)) => Err(error.clone()),
                None => Err(state.failure.take().unwrap_or_else(|| trapped(&state.plugin, &cause))),
            },
        }
    }
}

fn trapped(plugin: &str, cause: &wasmtime::Error) -> Error {
    if let Some(Violation(error)) = cause.downcast_ref::<Violation>() {
        return error.clone();
    }
    let what = match cause.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => "it crashed (a panic, or out of memory)".to_owned(),
        Some(Trap::StackOverflow) => "its stack overflowed".to_owned(),
        Some(trap) => format!("it crashed: {trap}"),
        None => {
            let cause = cause.root_cause().to_string();
            if !user_limit::exhausted(&cause).is_empty() {
                let error =
                    format!("plugin '{plugin}': the system does not give its memory: {cause}");
                return user_limit::explained(Error::new(Kind::Plugin, error), &cause);
            }
            in_words(&cause)
        }
    };
    violation(plugin, what)
}

/// A limit that wasmtime keeps for us, in our words. It has no types for these errors.
fn in_words(cause: &str) -> String {
    let limit = |part: &str| cause.contains(part);
    if limit("handle limit exceeded") {
        format!("it opened more than {} handles", limits::HANDLES)
    } else if limit("allocated for hostcalls") {
        format!("it passed more than {} MiB in one call", limits::CALL_BYTES >> 20)
    } else if limit("instance count too high") {
        format!("it has more than {} instances", limits::INSTANCES)
    } else if limit("memory count too high") {
        format!("it has more than {} memories", limits::MEMORIES)
    } else if limit("table count too high") {
        format!("it has more than {} tables", limits::TABLES)
    } else if limit("unknown handle") {
        format!("it used a handle that it does not hold ({cause})")
    } else {
        cause.to_owned()
    }
}

/// What a plugin said when it gave up.
fn refused(plugin: &str, said: writer::Error) -> Error {
    use super::bindings::types::ErrorCode;
    let message = match said {
        writer::Error::InvalidOption(name) => {
            return Error::usage(format!(
                "plugin '{plugin}': the value of option '{name}' is not of its form"
            ));
        }
        writer::Error::Unrepresentable(why) => {
            format!("plugin '{plugin}' cannot write this image: {why}")
        }
        writer::Error::Other(why) => format!("plugin '{plugin}': {why}"),
        writer::Error::Host(ErrorCode::Other(Some(why))) => format!("plugin '{plugin}': {why}"),
        writer::Error::Host(code) => {
            format!("plugin '{plugin}' gave up after '{}'", description::code_name(&code))
        }
    };
    Error::new(Kind::Plugin, message)
}

/// A plugin that writes an image.
pub struct WriteSession {
    instance: Instance,
    session: Option<ResourceAny>,
}

impl WriteSession {
    /// `session.open`.
    pub fn open(&mut self, request: &writer::Request) -> Result<()> {
        let session = self.instance.call(|store, plugin| {
            plugin.occystrap_output_writer().session().call_open(store, request)
        })?;
        self.session = Some(session);
        Ok(())
    }

    /// `session.plan`.
    pub fn plan(&mut self, layers: &[writer::LayerSummary]) -> Result<Vec<writer::Decision>> {
        let session = self.session()?;
        self.instance.call(|store, plugin| {
            plugin.occystrap_output_writer().session().call_plan(store, session, layers)
        })
    }

    /// `session.write-config`.
    pub fn write_config(&mut self, config: Blob) -> Result<()> {
        let session = self.session()?;
        self.lend(config, |store, plugin, blob| {
            plugin.occystrap_output_writer().session().call_write_config(store, session, blob)
        })
    }

    /// `session.write-layer`.
    pub fn write_layer(&mut self, index: u32, diff_id: Digest, layer: Blob) -> Result<()> {
        let session = self.session()?;
        self.lend(layer, |store, plugin, blob| {
            let writer = plugin.occystrap_output_writer();
            writer.session().call_write_layer(store, session, index, &diff_id.to_string(), blob)
        })
    }

    /// `session.finalize`. Returns what the plugin says, what the host saw, and the writes that
    /// wait for the two to agree.
    pub fn finalize(mut self) -> Result<(writer::Receipt, Journal, Pending)> {
        let session = self.session()?;
        self.instance.store.data_mut().is_finalizing = true;
        let receipt = self.instance.call(|store, plugin| {
            plugin.occystrap_output_writer().session().call_finalize(store, session)
        })?;
        let state = self.instance.store.data_mut();
        match (state.failure.take(), state.writing.take()) {
            // Something failed and the plugin went on as if nothing had happened.
            (Some(failure), _) => Err(failure),
            (None, Some(Writing { mut pending, journal })) => {
                pending.settle();
                Ok((receipt, journal, pending))
            }
            (None, None) => Err(violation(&state.plugin, "it was not writing")),
        }
    }

    fn session(&self) -> Result<ResourceAny> {
        let name = &self.instance.store.data().plugin;
        self.session.ok_or_else(|| violation(name, "its session is not open"))
    }

    fn lend(
        &mut self,
        blob: Blob,
        call: impl FnOnce(
            &mut Store<State>,
            &OutputPlugin,
            Resource<Blob>,
        ) -> wasmtime::Result<Result<(), writer::Error>>,
    ) -> Result<()> {
        let state = self.instance.store.data_mut();
        let full = violation(&state.plugin, "it holds too many handles");
        let own = state.table.push(blob).map_err(|_| full)?;
        let lent = Resource::new_borrow(own.rep());
        let result = self.instance.call(|store, plugin| call(store, plugin, lent));
        // Whatever the guest did, the blob ends here.
        let _ = self.instance.store.data_mut().table.delete(own);
        result
    }
}

/// A plugin that verifies.
pub struct VerifySession {
    instance: Instance,
}

impl VerifySession {
    /// `verify`.
    pub fn verify(
        mut self,
        receipt: &writer::Receipt,
        level: bindings::verifier::Level,
    ) -> Result<Vec<bindings::verifier::Finding>> {
        self.instance.call(|store, plugin| {
            plugin.occystrap_output_verifier().call_verify(store, receipt, level)
        })
    }
}
