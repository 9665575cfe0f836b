//! The flaws that objects can have, and the verdict that follows from them.

pub mod claims;
pub mod document;
pub mod flaw;
pub mod found;
pub mod object;
pub mod outcome;
