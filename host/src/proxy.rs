//! `occystrap proxy`: a registry endpoint. What clients push goes through the filters to another registry, the downstream, and
//! the client gets its answer only when the copy there is verified.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`downstream`] | the registry to which images go, and the names there |
//! | [`options`] | what the user sets |
//! | [`remembered`] | manifests that were pushed a short time ago |
//! | [`counts`] | numbers of a run, for `--metrics` and for the summary |
//! | `shared` | what all requests share |
//! | `gather` | everything that belongs to a pushed manifest |
//! | `push` | one push: from its manifest to a verdict |
//! | `pull` | manifests and blobs that clients get |
//! | `endpoint` | the requests that come to the endpoint |
//! | [`serve`] | the run: listening, lines about images, and the end |

pub mod counts;
pub mod downstream;
mod endpoint;
mod gather;
pub mod options;
mod pull;
mod push;
pub mod remembered;
pub mod serve;
mod shared;
