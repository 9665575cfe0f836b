//! Changing a destination, and the refusal that stands in for it in verify.
//!
//! The two are different types, linked in its place each: a verifying instance has no code path to
//! a write, whatever it imports. `storage_edit`, `registry_push`, `engine_load` and `http_out` are implemented
//! for both.

use wasmtime::component::HasData;

use crate::plugin::state::State;

/// Links an interface to [`Editor`].
pub struct Granted;

impl HasData for Granted {
    type Data<'a> = Editor<'a>;
}

/// Links an interface to [`Refusal`].
pub struct Denied;

impl HasData for Denied {
    type Data<'a> = Refusal<'a>;
}

/// Writes, while writing.
pub struct Editor<'a>(pub &'a mut State);

/// Refuses, while verifying. An honest plugin does not try: the session ends.
pub struct Refusal<'a>(pub &'a mut State);
