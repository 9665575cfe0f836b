//! Components that take much more memory or time than their size suggests, built byte by byte.

use super::hostile;

/// The first bytes of a core module.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// The first bytes of a component.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// An unsigned number (WebAssembly specification, 5.2.2).
fn leb(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 127) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 128);
    }
}

fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id], &leb(content.len())[..], content].concat()
}

/// Many times the same.
fn vector(item: &[u8], count: usize) -> Vec<u8> {
    [leb(count), item.repeat(count)].concat()
}

/// A component that holds one module.
pub fn holding(module: &[u8]) -> Vec<u8> {
    [COMPONENT, &section(1, module)].concat()
}

/// Two to the power of `levels` instances of an empty module, in some twenty bytes a level.
pub fn doubling(levels: usize) -> Vec<u8> {
    let once = section(2, &vector(&[0, 0, 0], 1));
    let inner = [holding(MODULE), once].concat();
    (0..levels).fold(inner, |inner, _| {
        let twice = section(5, &vector(&[0, 0, 0], 2));
        [COMPONENT, &section(4, &inner), &twice].concat()
    })
}

/// A module of so many functions, each of which has so many instructions.
pub fn functions(count: usize, instructions: usize) -> Vec<u8> {
    // A local is set to itself and one.
    module_of(count, &[0x20, 0, 0x41, 1, 0x6a, 0x21, 0].repeat(instructions))
}

/// A module of so many functions, each of which makes so many calls: what takes the most memory of all
/// that fits into two bytes.
pub fn calls(count: usize, calls: usize) -> Vec<u8> {
    module_of(count, &[0x10, 0].repeat(calls))
}

fn module_of(count: usize, instructions: &[u8]) -> Vec<u8> {
    let body = [&[1, 1, 0x7f], instructions, &[0x0b]].concat();
    let body = [leb(body.len()), body].concat();
    let types = section(1, &vector(&[0x60, 0, 0], 1));
    let declared = section(3, &vector(&[0], count));
    let code = section(10, &vector(&body, count));
    [MODULE, &types, &declared, &code].concat()
}

/// A module of one function with so many branches out of nested blocks: it compiles for minutes, in some
/// hundred megabytes.
pub fn branches(count: usize) -> Vec<u8> {
    const BLOCKS: usize = 1000;
    let out = |number: usize| [&[0x20, 0, 0x0d], &leb(number % BLOCKS)[..]].concat();
    let branches: Vec<u8> = (0..count).flat_map(out).collect();
    let instructions = [[2, 0x40].repeat(BLOCKS), branches, [0x0b].repeat(BLOCKS)].concat();
    module_of(1, &instructions)
}

/// A component whose module has so many bytes in one kind of section: types, imports, exports, globals,
/// data, names or others.
pub fn full_of(what: &str, bytes: usize) -> Vec<u8> {
    let one_type = section(1, &vector(&[0x60, 0, 0], 1));
    let one_memory = section(5, &vector(&[0, 1], 1));
    let content = match what {
        "types" => section(1, &vector(&[0x60, 4, 0x7f, 0x7e, 0x7d, 0x7c, 0], bytes / 7)),
        "imports" => {
            let imports = vector(&[1, b'a', 1, b'b', 0, 0], bytes / 6);
            [one_type, section(2, &imports)].concat()
        }
        "exports" => {
            let mut exports = leb(bytes / 9);
            for number in 0..bytes / 9 {
                let name = format!("{number:06x}");
                exports.extend([&[6], name.as_bytes(), &[2, 0]].concat());
            }
            [one_memory, section(7, &exports)].concat()
        }
        "globals" => section(6, &vector(&[0x7f, 0, 0x41, 0, 0x0b], bytes / 5)),
        "data" => {
            let segment = [&[0, 0x41, 0, 0x0b], &leb(bytes)[..], &vec![1; bytes]].concat();
            [section(5, &vector(&[0, 0x80, 8], 1)), section(11, &vector(&segment, 1))].concat()
        }
        "names" => {
            // The subsection of the names of functions (WebAssembly specification, 7.4.1).
            let names = section(1, &vector(&[0, 1, b'x'], bytes / 3));
            section(0, &[&[4], &b"name"[..], &names].concat())
        }
        "custom" => section(0, &[&[1, b'x'], &vec![0; bytes][..]].concat()),
        other => panic!("'{other}' is no kind of section"),
    };
    holding(&[MODULE, &content].concat())
}

/// A component that imports so many functions of one interface that any component may import.
pub fn importing(functions: usize) -> Vec<u8> {
    // An instance type (component model, Binary.md): the type of a function, and exports of it.
    let mut exports = [&[1, 0x40, 0, 1, 0][..]].concat();
    for number in 0..functions {
        let name = format!("f{number:06}");
        exports.extend([&[4, 0, 7], name.as_bytes(), &[1, 0]].concat());
    }
    let instance = [&[0x42], &leb(functions + 1)[..], &exports].concat();
    let types = section(7, &[&[1], &instance[..]].concat());
    let name = b"wasi:cli/environment@0.2.0";
    let import = [&[1, 0, name.len() as u8], &name[..], &[5, 0]].concat();
    [COMPONENT, &types, &section(10, &import)].concat()
}

/// Types that hold the type before them twice, and many functions that take the largest of them.
pub fn types_of_types() -> Vec<u8> {
    const LEVELS: u8 = 18;
    // A tuple of two (component model, Binary.md).
    let mut types = vec![0x6f, 2, 0x7d, 0x7d];
    (0..LEVELS).for_each(|before| types.extend([0x6f, 2, before, before]));
    let function = [0x40, 1, 1, b'p', LEVELS, 0, LEVELS];
    let (functions, all) = (20_000, usize::from(LEVELS) + 1);
    types.extend(function.repeat(functions));
    [COMPONENT, &section(7, &[leb(all + functions), types].concat())].concat()
}

/// A memory of so many pages, filled when it is instantiated.
pub fn memory(pages: usize) -> Vec<u8> {
    let text = format!(
        "(module (memory {pages}) (func $fill (memory.fill (i32.const 0) (i32.const 1) \
         (i32.const {}))) (start $fill))",
        pages << 16
    );
    wat::parse_str(text).unwrap()
}

/// Several memories of one page in one module, with content at both ends of each.
pub fn sparse(memories: usize, pages: usize) -> Vec<u8> {
    let end = (pages << 16) - 1;
    let memory = |n: usize| {
        format!(
            "(memory {pages}) (data (memory {n}) (i32.const 0) \"a\") \
             (data (memory {n}) (i32.const {end}) \"z\")"
        )
    };
    let all: String = (0..memories).map(memory).collect();
    wat::parse_str(format!("(module {all})")).unwrap()
}

/// A table of so many elements.
pub fn table(elements: usize) -> Vec<u8> {
    wat::parse_str(format!("(module (table {elements} funcref))")).unwrap()
}

/// The hostile plugin, with so many instances of a module more. It is honest for the rest.
pub fn with_instances(module: &[u8], count: usize) -> Vec<u8> {
    let plugin = std::fs::read(hostile::component()).unwrap();
    let number = u8::try_from(modules_of(&plugin)).unwrap();
    let instances = section(2, &vector(&[0, number, 0], count));
    [plugin, section(1, module), instances].concat()
}

/// The hostile plugin, with a module that nothing uses and that is costly to compile.
pub fn with_module(module: &[u8]) -> Vec<u8> {
    let plugin = std::fs::read(hostile::component()).unwrap();
    [plugin, section(1, module)].concat()
}

/// Modules that a component holds itself.
fn modules_of(component: &[u8]) -> usize {
    let (mut at, mut modules) = (COMPONENT.len(), 0);
    while at < component.len() {
        modules += usize::from(component[at] == 1);
        let (mut size, mut shift) = (0, 0);
        loop {
            at += 1;
            size |= usize::from(component[at] & 127) << shift;
            shift += 7;
            if component[at] < 128 {
                break;
            }
        }
        at += 1 + size;
    }
    modules
}
