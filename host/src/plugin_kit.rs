//! Tools for authors of plugins: a new project (`plugin new`) and the conformance test (`plugin test`).

pub mod conformance;
pub mod scaffold;
