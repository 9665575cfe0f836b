//! What was found, and which verdict follows.

pub mod claims;
pub mod found;
pub mod object;
