//! Tests of the model: rules as tables, scenarios as text, properties over random worlds, and the
//! contract told a second time.

mod build;
mod contract;
mod limits;
mod manifests;
mod properties;
mod rules;
mod scenarios;
