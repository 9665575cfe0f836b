//! Access to a destination: [`Editor`] changes it while writing, [`Refusal`] stands in for it while verifying.
//!
//! The two are different types, and an instance is linked with one of them: a verifying instance has no code
//! path to a write, whatever it imports. `storage_edit`, `registry_push`, `engine_load` and `http_out` are
//! implemented for both.

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

/// Access while writing.
pub struct Editor<'a>(pub &'a mut State);

/// Refusal while verifying. A correct plugin does not call these functions: the session ends.
pub struct Refusal<'a>(pub &'a mut State);
