//! Counts the work that a component is for the compiler, before it is compiled.
//!
//! What it refuses: components whose instances multiply along their nesting, modules and components that are
//! passed as arguments (how often those are instantiated cannot be counted), and more declarations, functions,
//! code or names than [`occystrap_base::limits`] allows. It needs some kilobytes of memory, whatever the
//! component is.

use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentInstance, ComponentOuterAliasKind,
    ComponentTypeRef, Instance, Parser, Payload,
};

use occystrap_base::error::{Error, Kind, Result};
use occystrap_base::limits;

/// The numbers of one component.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ComponentCounts {
    /// Names of its imports, as the component spells them.
    pub imports: Vec<String>,
    /// Instances of modules and of components, along the nesting.
    pub instances: u64,
    /// Steps that instantiate it, along the nesting: aliases, arguments, exports, functions that are
    /// lifted or lowered.
    pub steps: u64,
    /// Imports, functions, globals, tables and memories of all instances of modules.
    pub fields: u64,
    /// Modules that it holds.
    pub modules: u64,
    /// Components that it holds.
    pub components: u64,
    /// Functions of its modules.
    pub functions: u64,
    /// Memories and tables of its modules.
    pub memories: u64,
    /// Bytes of its largest function.
    pub largest_function: u64,
    /// Bytes that are neither code nor data nor custom: types, imports, exports, tables.
    pub declarations: u64,
    /// Sections of it and of everything in it.
    pub sections: u64,
    /// Bytes of names, which are custom sections that the compiler reads.
    pub names: u64,
}

/// The cost of one instance of a module or a component.
#[derive(Debug, Default, Clone, Copy)]
struct Cost {
    instances: u64,
    steps: u64,
    fields: u64,
}

impl Cost {
    fn add(&mut self, other: Self) {
        self.instances = self.instances.saturating_add(other.instances);
        self.steps = self.steps.saturating_add(other.steps);
        self.fields = self.fields.saturating_add(other.fields);
    }
}

/// A module or a component that is being read.
#[derive(Default)]
struct Frame {
    is_module: bool,
    /// The index space of its modules: the cost of an instance of each.
    modules: Vec<Cost>,
    /// The index space of its components.
    components: Vec<Cost>,
    /// The cost of an instance of it.
    cost: Cost,
}

/// Reads a component once and counts. Errors when it cannot be read, and when it breaks a limit.
pub fn count(name: &str, bytes: &[u8]) -> Result<ComponentCounts> {
    let (size, counts) = (bytes.len(), ComponentCounts::default());
    let mut reader = Reader { name, size, frames: Vec::new(), counts };
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(|cause| reader.malformed(&cause))?;
        reader.payload(&payload)?;
    }
    Ok(reader.counts)
}

struct Reader<'a> {
    name: &'a str,
    /// Bytes of the component.
    size: usize,
    frames: Vec<Frame>,
    counts: ComponentCounts,
}

impl Reader<'_> {
    fn payload(&mut self, payload: &Payload<'_>) -> Result<()> {
        self.counts.sections += u64::from(payload.as_section().is_some());
        if let Some((id, range)) = payload.as_section()
            && !is_container_or_content(payload)
            && id != CUSTOM
        {
            self.counts.declarations += (range.end - range.start) as u64;
        }
        match payload {
            Payload::Version { encoding, .. } => {
                let is_module = *encoding == wasmparser::Encoding::Module;
                self.frames.push(Frame { is_module, ..Frame::default() });
                if self.frames.len() > 1 {
                    match is_module {
                        true => self.counts.modules += 1,
                        false => self.counts.components += 1,
                    }
                }
            }
            Payload::End(_) => self.end(),
            Payload::ModuleSection { unchecked_range: range, .. } if range.end > self.size => {
                return Err(self.cut_off("module", range));
            }
            Payload::ComponentSection { unchecked_range: range, .. } if range.end > self.size => {
                return Err(self.cut_off("component", range));
            }
            Payload::ImportSection(section) => self.fields(section.count()),
            Payload::FunctionSection(section) => {
                self.fields(section.count());
                self.counts.functions += u64::from(section.count());
            }
            Payload::GlobalSection(section) => self.fields(section.count()),
            Payload::TableSection(section) => {
                self.fields(section.count());
                self.counts.memories += u64::from(section.count());
            }
            Payload::MemorySection(section) => {
                self.fields(section.count());
                self.counts.memories += u64::from(section.count());
            }
            Payload::CodeSectionEntry(body) => {
                let range = body.range();
                let size = (range.end - range.start) as u64;
                self.counts.largest_function = self.counts.largest_function.max(size);
            }
            Payload::CustomSection(section) if section.name() == "name" => {
                self.counts.names += section.data().len() as u64;
            }
            Payload::InstanceSection(section) => self.module_instances(section)?,
            Payload::ComponentInstanceSection(section) => self.component_instances(section)?,
            Payload::ComponentAliasSection(section) => self.aliases(section)?,
            Payload::ComponentImportSection(section) => self.imports(section)?,
            Payload::ComponentExportSection(section) => self.exports(section)?,
            Payload::ComponentCanonicalSection(section) => self.steps(section.count()),
            _ => {}
        }
        self.check()
    }

    /// Ends a module or component, and adds it to the index space of the one around it.
    fn end(&mut self) {
        let Some(Frame { is_module, cost, .. }) = self.frames.pop() else { return };
        match self.frames.last_mut() {
            Some(outer) if is_module => outer.modules.push(cost),
            Some(outer) => outer.components.push(cost),
            None => {
                let ComponentCounts { instances, steps, fields, .. } = &mut self.counts;
                (*instances, *steps, *fields) = (cost.instances, cost.steps, cost.fields);
            }
        }
    }

    fn module_instances(&mut self, section: &wasmparser::InstanceSectionReader<'_>) -> Result<()> {
        self.steps(section.count());
        for instance in section.clone() {
            match instance.map_err(|cause| self.malformed(&cause))? {
                Instance::Instantiate { module_index, args } => {
                    self.steps(args.len() as u32);
                    let module = self.top().modules.get(module_index as usize).copied();
                    let mut cost = module.ok_or_else(|| self.unknown("module", module_index))?;
                    cost.instances = 1;
                    self.top().cost.add(cost);
                }
                Instance::FromExports(exports) => self.steps(exports.len() as u32),
            }
            self.check()?;
        }
        Ok(())
    }

    fn component_instances(
        &mut self,
        section: &wasmparser::ComponentInstanceSectionReader<'_>,
    ) -> Result<()> {
        self.steps(section.count());
        for instance in section.clone() {
            match instance.map_err(|cause| self.malformed(&cause))? {
                ComponentInstance::Instantiate { component_index, args } => {
                    self.steps(args.len() as u32);
                    let inner = self.top().components.get(component_index as usize).copied();
                    let mut cost =
                        inner.ok_or_else(|| self.unknown("component", component_index))?;
                    cost.instances = cost.instances.saturating_add(1);
                    self.top().cost.add(cost);
                }
                ComponentInstance::FromExports(exports) => self.steps(exports.len() as u32),
            }
            self.check()?;
        }
        Ok(())
    }

    fn aliases(&mut self, section: &wasmparser::ComponentAliasSectionReader<'_>) -> Result<()> {
        self.steps(section.count());
        self.check()?;
        for alias in section.clone() {
            match alias.map_err(|cause| self.malformed(&cause))? {
                ComponentAlias::Outer { kind, count, index } => {
                    self.outer_alias(kind, count, index)?;
                }
                ComponentAlias::InstanceExport { kind, .. } => self.no_argument(kind)?,
                ComponentAlias::CoreInstanceExport { .. } => {}
            }
        }
        Ok(())
    }

    /// Adds an alias of a module or component that is `outward` components further out.
    fn outer_alias(
        &mut self,
        kind: ComponentOuterAliasKind,
        outward: u32,
        index: u32,
    ) -> Result<()> {
        let at = (self.frames.len() - 1).checked_sub(outward as usize);
        let outer = at.and_then(|at| self.frames.get(at));
        let (cost, what) = match kind {
            ComponentOuterAliasKind::CoreModule => {
                (outer.and_then(|outer| outer.modules.get(index as usize)), "module")
            }
            ComponentOuterAliasKind::Component => {
                (outer.and_then(|outer| outer.components.get(index as usize)), "component")
            }
            ComponentOuterAliasKind::CoreType | ComponentOuterAliasKind::Type => return Ok(()),
        };
        let cost = cost.copied().ok_or_else(|| self.unknown(what, index))?;
        let top = self.top();
        match kind {
            ComponentOuterAliasKind::CoreModule => top.modules.push(cost),
            _ => top.components.push(cost),
        }
        Ok(())
    }

    fn imports(&mut self, section: &wasmparser::ComponentImportSectionReader<'_>) -> Result<()> {
        self.steps(section.count());
        self.check()?;
        for import in section.clone() {
            let import = import.map_err(|cause| self.malformed(&cause))?;
            if matches!(import.ty, ComponentTypeRef::Module(_) | ComponentTypeRef::Component(_)) {
                self.no_argument(import.ty.kind())?;
            }
            if self.frames.len() == 1 {
                self.counts.imports.push(import.name.name.to_owned());
            }
        }
        Ok(())
    }

    fn exports(&mut self, section: &wasmparser::ComponentExportSectionReader<'_>) -> Result<()> {
        self.steps(section.count());
        self.check()?;
        for export in section.clone() {
            let export = export.map_err(|cause| self.malformed(&cause))?;
            let index = export.index as usize;
            let top = self.top();
            // An export adds the item to the index space once more.
            match export.kind {
                ComponentExternalKind::Module => {
                    let cost = top.modules.get(index).copied();
                    let cost = cost.ok_or_else(|| self.unknown("module", export.index))?;
                    self.top().modules.push(cost);
                }
                ComponentExternalKind::Component => {
                    let cost = top.components.get(index).copied();
                    let cost = cost.ok_or_else(|| self.unknown("component", export.index))?;
                    self.top().components.push(cost);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn no_argument(&self, kind: ComponentExternalKind) -> Result<()> {
        let what = match kind {
            ComponentExternalKind::Module => "modules",
            ComponentExternalKind::Component => "components",
            _ => return Ok(()),
        };
        let why = format!("it passes {what} as arguments, so that its instances cannot be counted");
        Err(self.error(&why).hint("link the parts when the component is built, by their index"))
    }

    fn top(&mut self) -> &mut Frame {
        if self.frames.is_empty() {
            self.frames.push(Frame::default());
        }
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    fn steps(&mut self, count: u32) {
        self.top().cost.add(Cost { steps: u64::from(count), ..Cost::default() });
    }

    fn fields(&mut self, count: u32) {
        self.top().cost.add(Cost { fields: u64::from(count), ..Cost::default() });
    }

    /// Compares the numbers so far with the limits: reading ends at the first broken one.
    fn check(&self) -> Result<()> {
        let counts = &self.counts;
        let cost = self.frames.last().map_or(
            Cost { instances: counts.instances, steps: counts.steps, fields: counts.fields },
            |frame| frame.cost,
        );
        if counts.sections > limits::SECTIONS {
            let why = format!("sections: expected at most {}, found more", limits::SECTIONS);
            return Err(self.error(&why).hint(HINT));
        }
        for (what, limit, found) in [
            ("modules", limits::MODULES, counts.modules),
            ("components inside it", limits::COMPONENTS, counts.components),
            ("functions", limits::FUNCTIONS, counts.functions),
            ("memories and tables", limits::MODULE_MEMORIES, counts.memories),
            ("bytes in one function", limits::FUNCTION_SIZE, counts.largest_function),
            ("bytes of declarations", limits::DECLARATIONS, counts.declarations),
            ("bytes of names", limits::NAMES, counts.names),
            ("instances along its nesting", limits::NESTED_INSTANCES, cost.instances),
            ("steps to instantiate it", limits::STEPS, cost.steps),
            ("imports, functions and globals of instances", limits::FIELDS, cost.fields),
        ] {
            if found > limit {
                let why = format!("{what}: expected at most {limit}, found {found}");
                return Err(self.error(&why).hint(HINT));
            }
        }
        Ok(())
    }

    fn unknown(&self, what: &str, index: u32) -> Error {
        self.error(&format!("cannot be compiled: there is no {what} {index}"))
    }

    fn cut_off(&self, what: &str, range: &std::ops::Range<usize>) -> Error {
        let (start, end, size) = (range.start, range.end, self.size);
        self.error(&format!(
            "cannot be compiled: failed to parse WebAssembly module: wasm component contains an invalid \
             {what} section: section range {start}..{end} is out of bounds (bound = {size})"
        ))
    }

    fn malformed(&self, cause: &wasmparser::BinaryReaderError) -> Error {
        self.error(&format!("cannot be compiled: failed to parse WebAssembly module: {cause}"))
    }

    fn error(&self, why: &str) -> Error {
        Error::new(Kind::Plugin, format!("plugin '{}': {why}", self.name))
    }
}

/// The hint for a component that is too large.
const HINT: &str = "a component with fewer or smaller parts is accepted; \
    docs/permissions.md has the limits";

/// The number of custom sections (WebAssembly specification, 5.5.2).
const CUSTOM: u8 = 0;

/// Returns whether a section holds modules, components, code or data, which are counted separately.
fn is_container_or_content(payload: &Payload<'_>) -> bool {
    matches!(
        payload,
        Payload::ModuleSection { .. }
            | Payload::ComponentSection { .. }
            | Payload::CodeSectionStart { .. }
            | Payload::CodeSectionEntry(_)
            | Payload::DataSection(_)
            | Payload::Version { .. }
    )
}

#[cfg(test)]
mod tests;
