//! Tests of the model: rules as tables, scenarios as text, properties over random worlds.

mod audit;
mod build;
mod cluster_ips;
mod generate;
mod health;
mod limits;
mod order;
mod properties;
mod reference;
mod rules;
mod scenarios;
mod sources;
