//! A client for the OCI distribution API.
