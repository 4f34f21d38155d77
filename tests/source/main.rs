//! The sources against a test API server and a folder, on the loopback interface only.

mod api;
mod fixtures;
mod manifests;
mod outages;
mod world;
