//! Everything that is tested through the public surface: the library and the binary.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

/// In-process servers, image builders, and the binary in a home of its own.
#[path = "../support"]
mod support {
    pub mod bystander;
    pub mod cli;
    pub mod engine;
    pub mod engine_door;
    pub mod engine_store;
    pub mod hostile;
    pub mod image;
    pub mod layer;
    pub mod plugin;
    pub mod push;
    pub mod python;
    pub mod raw_tar;
    pub mod real;
    pub mod real_engine;
    pub mod registry;
    pub mod registry_auth;
    pub mod registry_fault;
    pub mod registry_tls;
    pub mod registry_upload;
    pub mod rich;
    pub mod shape;
    pub mod token_server;
}

mod all_platforms;
mod bad_archive;
mod bad_registry;
mod check;
mod check_layers;
mod check_trouble;
mod cli;
mod conformance;
mod corruption;
mod directory;
mod docker_output;
mod docker_output_trouble;
mod docker_source;
mod documented;
mod encoded;
mod engine_client;
mod entries;
mod filtered_readers;
mod filters;
mod flip;
mod hostile_engine;
mod hostile_registry;
mod hostile_tricks;
mod hostile_verify;
mod hostile_write;
mod info;
mod interrupt;
mod layer_cache;
mod mend;
mod no_room;
mod oci_layout;
mod platform;
mod plugin_add;
mod plugin_artifact;
mod plugin_for_one_run;
mod plugin_new;
mod plugin_of_a_release;
mod plugins_lock;
mod push_image;
mod push_image_trouble;
mod python_filters;
mod real_engine;
mod real_engine_output;
mod real_login;
mod real_push;
mod real_reader;
mod real_registry;
mod registry_auth;
mod registry_blob;
mod registry_client;
mod registry_manifest;
mod registry_push;
mod registry_push_manifest;
mod registry_push_trouble;
mod search;
mod secrets;
mod shapes;
mod size_hint;
mod truncated;
mod two_processes;
mod untrusted;
mod usage;
mod verify_layout;
mod verify_registry;
