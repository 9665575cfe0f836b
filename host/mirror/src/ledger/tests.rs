//! Tests of the ledger. Those of [`contract`], [`records`], [`machine`] and [`verification`] are generic over the store, so
//! that a later store passes the same.

mod bad_files;
mod contract;
mod crash;
mod figures;
mod machine;
mod records;
mod verification;
mod world;
