//! Limits on plugins and on receipts from untrusted sources, each with its reason.

use std::time::Duration;

use crate::oci::manifest::LARGEST_MANIFEST;

/// Bytes of a component. Python and JavaScript bring their interpreter: 18 and 12 MB, which compile
/// for some ten seconds on two cores, once.
pub const COMPONENT_SIZE: usize = 64 * 1024 * 1024;

/// Time that compiling one component may take. Python's interpreter takes ten seconds on two cores, and a component of
/// [`COMPONENT_SIZE`] about forty. A component that takes longer is taken for an attack.
pub const COMPILE_TIME: Duration = Duration::from_secs(120);

/// Memory that compiling one component may take, in bytes, where it is compiled in a process of its own.
/// The interpreters of Python and JavaScript take 350 and 430 MiB.
pub const COMPILE_MEMORY: u64 = 1024 * 1024 * 1024;

/// Bytes of machine code that a component may become. The interpreters become 51 and 60 MB.
pub const MACHINE_CODE: u64 = 256 * 1024 * 1024;

/// Instances that a component may make of modules and components, multiplied along its nesting. Python's
/// interpreter with its libraries makes 41.
pub const NESTED_INSTANCES: u64 = 1_000;

/// Steps that may instantiate a component, multiplied along its nesting: aliases, arguments, exports, and
/// functions that are lifted or lowered. Python's interpreter takes 3,500.
pub const STEPS: u64 = 50_000;

/// Imports, functions, globals, tables and memories of all instances of modules. Each takes up to 32 bytes
/// of a session. Python's interpreter has 17,000.
pub const FIELDS: u64 = 200_000;

/// Modules in a component. Python's interpreter has 38, and some more with each library.
pub const MODULES: u64 = 256;

/// Components in a component. Tools for components make two or three.
pub const COMPONENTS: u64 = 256;

/// Functions in a component. The interpreters have 13,000; each takes some 6 KB while it is compiled.
pub const FUNCTIONS: u64 = 100_000;

/// Memories and tables of the modules of a component. Ordinary components have two or three.
pub const MODULE_MEMORIES: u64 = 100;

/// Bytes of one function. Python's largest has 427 KB; the compiler takes about a hundred times as much memory.
pub const FUNCTION_SIZE: u64 = 2 * 1024 * 1024;

/// Bytes of a component that are neither code nor data nor custom: types, imports, exports, elements of
/// tables. The interpreters have 330 KB.
pub const DECLARATIONS: u64 = 4 * 1024 * 1024;

/// Sections of a component and of everything in it. Empty ones take time to read, too. An interpreter with 40 modules
/// has under a thousand.
pub const SECTIONS: u64 = 100_000;

/// Bytes of names of functions, which the compiler reads. Python's interpreter has 360 KB.
pub const NAMES: u64 = 8 * 1024 * 1024;

/// Bytes up to which the initial content of a memory is written out with its holes. One segment at the start and one at
/// the end take as much machine code as everything between them.
pub const SPARSE_IMAGE: u64 = 64 * 1024;

/// Bytes of linear memory of one plugin, over all its memories. The first-party plugins use under 2 MiB;
/// componentize-py and componentize-js want some tens.
pub const MEMORY: usize = 64 * 1024 * 1024;

/// Elements of all tables of one plugin. Interpreters have some tens of thousands of functions.
pub const TABLE_ELEMENTS: usize = 200_000;

/// Instances of modules in one plugin. Python's interpreter with its libraries are 38.
pub const INSTANCES: usize = 256;

/// Memories of one plugin. Most have one.
pub const MEMORIES: usize = 64;

/// Tables of one plugin. Most have one or two.
pub const TABLES: usize = 64;

/// Handles open at once, of all kinds. A plugin needs a directory, a sink or two and a blob.
pub const HANDLES: usize = 1_024;

/// Bytes that one call may carry from the plugin: strings and lists together. The largest honest call pushes a
/// manifest, of [`LARGEST_MANIFEST`] bytes at most, with its tag and its media type: the rest is room for those. A
/// receipt is smaller: [`crate::oci::MOST_LAYERS`] expectations of about 300 bytes, and 64 KiB of state.
pub const CALL_BYTES: usize = LARGEST_MANIFEST + 1024 * 1024;

/// Bytes in one `write`, and bytes returned by one `read`. They are for the structure of a format; content is spliced.
pub const PIECE: usize = 64 * 1024;

/// Zero bytes in one `pad`: blocks of archives and file systems are far smaller.
pub const PAD: u32 = 1024 * 1024;

/// Time that a plugin may compute in one session. Time in which it waits for the host does not count. The first-party
/// plugins need about a millisecond for a hundred layers.
pub const CPU_TIME: Duration = Duration::from_secs(10);

/// How often the computing time is compared with its limit.
pub const TICK: Duration = Duration::from_millis(10);

/// Calls to the host in one session. Writing the header of each of a million files takes fewer.
pub const HOST_CALLS: u64 = 20_000_000;

/// Bytes that a plugin may have the host read and hash in one session, beyond what it hashes for the user. A plugin
/// cannot keep a machine busy by asking for the same file in ever different pieces. The limit is sixteen times the
/// largest images.
pub const HASHED_BYTES: u64 = 1 << 40;

/// Walks through layers that are open at the same time. Each one decodes, and a zstd frame may ask for a window of 128
/// MiB. An inventory needs one.
pub const WALKS: usize = 4;

/// Members of a layer in one page: a call costs about as much as hashing a small file.
pub const PAGE: usize = 256;

/// Bytes of names in one page, at which it ends before [`PAGE`] members. One name may be longer, up
/// to the megabyte that the reader of tars allows.
pub const PAGE_BYTES: usize = 64 * 1024;

/// Bytes of holes that are hashed as zeros in one walk through a layer. A header of half a kilobyte
/// can claim a file of exabytes; a database image has some gigabytes.
pub const HOLES: u64 = 4 << 30;

/// Host memory that the calls of one session may leave behind, in bytes: the journal, digests, manifests that wait for
/// the commit, sinks. An image of [`crate::oci::MOST_LAYERS`] layers takes under one MiB of it, and a manifest of
/// [`LARGEST_MANIFEST`] four more.
pub const HOST_MEMORY: usize = 32 * 1024 * 1024;

/// Host memory that one extent of a written file counts for, in bytes: 48 bytes in the journal, and the rest in the
/// receipt.
pub const PIECE_KEPT: usize = 128;

/// Host memory that an entry with a name counts for beside the name, in bytes: digests, sizes and the entry of a table.
pub const REMEMBERED: usize = 256;

/// Bytes of its own that a plugin may write in one session, beside as many as it moves of the image: headers and
/// padding of archives, tables and free space of file systems. A tar has 2 KiB for each layer.
pub const OWN_BYTES: u64 = 1 << 30;

/// Processor time of the host in one session for calls that neither move nor hash content. An image of
/// [`crate::oci::MOST_LAYERS`] layers takes a tenth of a second.
pub const HOST_TIME: Duration = Duration::from_secs(20);

/// Requests to the network that a plugin may cause in one session, beyond the transfers of the
/// image: three for each of [`crate::oci::MOST_LAYERS`] layers, and some.
pub const REQUESTS: u64 = 4_000;

/// Bytes of a URL that a plugin asks for: servers refuse longer ones with 414 (nginx and Apache at 8 KiB,
/// the whole request line).
pub const HTTP_URL: usize = 4 * 1024;

/// Headers of one request or answer, as a plugin gives or sees them.
pub const HTTP_HEADERS: usize = 64;

/// Bytes of those headers, names and values together. Servers accept 8 KiB, and send a few hundred bytes.
pub const HTTP_HEADER_BYTES: usize = 16 * 1024;

/// Bytes of a body that a plugin sends in one call: lists and calls of services have a few kilobytes. Content is sent
/// as a blob or a sink.
pub const HTTP_SENT: usize = 1024 * 1024;

/// Bytes of one body that a plugin may read: the answers of services. Content is hashed by the host.
pub const HTTP_READ: u64 = 16 * 1024 * 1024;

/// Time for one body that a plugin reads: [`HTTP_READ`] over a slow line.
pub const HTTP_READ_TIME: Duration = Duration::from_secs(5 * 60);

/// Answers whose body a plugin has not dropped. Each is a connection.
pub const HTTP_ANSWERS: usize = 16;

/// Bytes of small bodies that are kept, together, until the receipt is accepted: the host looks for the manifest among
/// them. Bodies beyond the limit are sent and not kept.
pub const HTTP_KEPT: usize = 16 * 1024 * 1024;

/// Smallest piece in which a plugin may have a blob uploaded, in bytes. Each piece is a request.
pub const SMALLEST_CHUNK: u64 = 4 * 1024;

/// Pieces in which a plugin may have a blob uploaded, about. S3, where many registries keep blobs, takes at most 10,000
/// for each object.
pub const CHUNKS: u64 = 10_000;

/// Manifests that one session may push: an image has one, and may have a few names for it.
pub const MANIFESTS: usize = 64;

/// Time that one wait for the directory's lock may take. Another process holds it while it writes
/// a manifest, not while it fetches.
pub const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Lines that a plugin may log in one session.
pub const LOG_LINES: u64 = 1_000;

/// Bytes of one logged line; the rest is cut.
pub const LOG_LINE: usize = 4 * 1024;

/// Files that one session may write; each holds a descriptor until the commit.
pub const FILES: usize = 4_096;

/// Bytes of state that a receipt may carry for the plugin's own `verify`.
pub const RECEIPT_STATE: usize = 64 * 1024;

/// Expectations in a receipt, and findings of a verification.
pub const RECEIPT_ITEMS: usize = 100_000;

/// Limits of one session that depend on who owns the plugin: the user, or an untrusted party.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// [`CPU_TIME`].
    pub cpu_time: Duration,
    /// [`COMPILE_TIME`].
    pub compile_time: Duration,
    /// [`COMPILE_MEMORY`].
    pub compile_memory: u64,
    /// [`HOST_CALLS`].
    pub host_calls: u64,
    /// [`HASHED_BYTES`].
    pub hashed_bytes: u64,
    /// [`OWN_BYTES`].
    pub own_bytes: u64,
    /// [`HOST_TIME`].
    pub host_time: Duration,
    /// Whether the plugin's log lines are shown. They are counted either way.
    pub shows_log: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            cpu_time: CPU_TIME,
            compile_time: COMPILE_TIME,
            compile_memory: COMPILE_MEMORY,
            host_calls: HOST_CALLS,
            hashed_bytes: HASHED_BYTES,
            own_bytes: OWN_BYTES,
            host_time: HOST_TIME,
            shows_log: true,
        }
    }
}

impl Allowance {
    /// Limits for plugins from untrusted sources, many of which run at the same time. Two seconds are a thousand times
    /// what an honest plugin needs, and enough for an interpreter to start. An honest plugin asks for no hash that the
    /// host has not computed and remembered itself. The log is not shown: a thousand receipts with a thousand lines
    /// each would hide everything else.
    #[must_use]
    pub fn untrusted() -> Self {
        Self {
            cpu_time: Duration::from_secs(2),
            hashed_bytes: 16 << 30,
            host_time: Duration::from_secs(10),
            shows_log: false,
            ..Self::default()
        }
    }
}

impl Allowance {
    /// Limits for `plugin show`, whose file may be anything. All of it together takes at most [`SHOW_MEMORY`] and
    /// [`SHOW_TIME`].
    #[must_use]
    pub fn showing() -> Self {
        Self {
            cpu_time: Duration::from_secs(1),
            host_time: Duration::from_secs(1),
            compile_time: Duration::from_secs(5),
            compile_memory: 128 << 20,
            ..Self::default()
        }
    }
}

/// Memory that `plugin show` may take, in bytes: this process and the compiler's.
pub const SHOW_MEMORY: u64 = 256 << 20;

/// Time that `plugin show` may take.
pub const SHOW_TIME: Duration = Duration::from_secs(10);

/// Bytes of a receipt's file from an untrusted source. A receipt of a thousand layers has about 400 KB. Parsed, it
/// takes about ten times its size, for each receipt that is checked at the same time.
pub const UNTRUSTED_RECEIPT: u64 = 4 * 1024 * 1024;

/// Expectations in a receipt from an untrusted source: [`crate::oci::MOST_LAYERS`] layers, a listing for each, and
/// twice that for future formats. Each is compared with each finding.
pub const UNTRUSTED_ITEMS: usize = 4_000;

/// Extents in the journals of such a receipt: an archive has two for each member.
pub const UNTRUSTED_EXTENTS: usize = 16_000;

/// Findings of a plugin that are kept. A user reads no more, and one is enough for UNCONFIRMED.
pub const UNTRUSTED_FINDINGS: usize = 1_000;

/// Problems of one receipt that are shown; the others are counted. A line then has at most 500 KB, and in practice a
/// few kilobytes.
pub const UNTRUSTED_PROBLEMS: usize = 50;

/// Time for one receipt. The host reads 750 MB in about a second, and the largest images in some minutes.
pub const UNTRUSTED_TIME: Duration = Duration::from_secs(10 * 60);

/// Time for a whole batch.
pub const UNTRUSTED_BATCH_TIME: Duration = Duration::from_secs(60 * 60);

/// Bytes that one receipt may make the host read. Its sizes are claims, and it may name one file a thousand times. The
/// largest images have tens of gigabytes.
pub const UNTRUSTED_BYTES: u64 = 128 << 30;

/// Bytes that a whole batch may make the host read: those that a disk of 300 MB/s delivers in an hour. Half of them is
/// shared evenly among the receipts' files. The other half goes to the files that are read first. A receipt with large
/// claims takes nothing from those with small ones.
pub const UNTRUSTED_BATCH_BYTES: u64 = 1 << 40;
