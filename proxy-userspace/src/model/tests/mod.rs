//! Tests of the model: rules as tables, scenarios as text, properties over random worlds, and the
//! contract told a second time.

mod audit;
mod build;
mod cluster_ips;
mod contract;
mod generate;
mod health;
mod limits;
mod maglev;
mod manifests;
mod order;
mod properties;
mod rules;
mod scenarios;
mod sources;
