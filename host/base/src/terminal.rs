//! What users see: progress bars, tables, sizes, results, and text that a shell can read.

pub mod progress;
pub mod results;
pub mod shell;
pub mod size;
pub mod standard_output;
pub mod table;
