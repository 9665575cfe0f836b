//! `occystrap proxy`: a registry endpoint. What clients push goes through the filters to another registry, the downstream, and
//! the client gets its answer only when the copy there is verified.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`downstream`] | the registry to which images go, and the names there |
//! | [`options`] | what the user sets |
//! | [`remembered`] | manifests that were pushed a short time ago |
//! | [`counts`] | numbers of a run, for `--metrics` and for the summary |
//! | [`event`] | what happens meanwhile, for those who show it |
//! | `known` | what is known of upstream registries |
//! | `shared` | what all requests share |
//! | `metrics` | the page of `--metrics` |
//! | `moving` | the move of one image downstream, and the verdict |
//! | `gather` | everything that belongs to a pushed manifest |
//! | `push` | one push: from its manifest to a verdict |
//! | `pull` | manifests and blobs of the downstream registry |
//! | [`upstream`] | the registries from which clients pull through the proxy |
//! | `through` | manifests and blobs of these |
//! | `fetch`, `turns` | one fetch for all clients |
//! | `store` | storing them downstream |
//! | `endpoint` | the requests that come to the endpoint |
//! | [`serve`] | the run: listening, lines about images, and the end |

pub mod counts;
pub mod downstream;
mod endpoint;
pub mod event;
mod fetch;
mod gather;
mod known;
mod metrics;
mod moving;
pub mod options;
mod pull;
mod push;
pub mod remembered;
pub mod serve;
mod shared;
mod store;
mod through;
mod turns;
pub mod upstream;
