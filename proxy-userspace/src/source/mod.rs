//! Where objects come from: the Kubernetes API, or a folder of manifests.
//!
//! Kubernetes types end here. Objects become [`crate::model::spec`] structs at the edge, whole
//! objects are never kept, and what cannot be used becomes a [`Problem`](crate::model::problem::Problem).

pub mod convert;
pub mod kube;
pub mod manifest;
mod troubles;
