//! A registry endpoint (OCI distribution specification 1.1) for clients that push to this program or pull through it.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`limits`] | the limits, each with its reason |
//! | [`route`] | what a request is about: its path and query, parsed and checked |
//! | [`refusal`] | errors as the specification spells them |
//! | [`reply`] | answers and their bodies |
//! | [`range`] | parts of a blob that a client requests |
//! | [`room`] | how many bytes of received blobs may be on the disk |
//! | [`received`] | blobs that clients sent, by repository |
//! | [`upload`] | uploads that have begun |
//! | [`login`] | names and passwords of clients |
//! | [`backend`] | what the owner of the endpoint decides: manifests, tags, blobs that were not sent here |
//! | [`endpoint`] | one request: login, route, answer |
//! | [`listener`] | connections, TLS, and the end of both |
//!
//! This crate refuses to know what becomes of an image, and to connect to any other server: its owner does that. It
//! serves nothing under a digest that was not computed from the bytes.

pub mod backend;
pub mod endpoint;
pub mod limits;
pub mod listener;
pub mod login;
pub mod range;
pub mod received;
pub mod refusal;
pub mod reply;
pub mod room;
pub mod route;
pub mod upload;
