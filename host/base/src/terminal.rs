//! Output for users: progress bars, tables, sizes, results, and words that a shell can read.

pub mod board;
pub mod json_stream;
pub mod pending_writes;
pub mod progress;
pub mod results;
pub mod shell;
pub mod size;
pub mod standard_output;
pub mod summary;
pub mod table;
#[cfg(test)]
mod test_screen;
