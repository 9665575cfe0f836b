//! What authors of plugins need: a new project (`plugin new`) and the conformance test (`plugin test`).

pub mod conformance;
pub mod scaffold;
