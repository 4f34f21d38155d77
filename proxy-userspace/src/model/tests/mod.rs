//! Tests of the model: rules as tables, scenarios as text, properties over random worlds.

mod audit;
mod build;
mod health;
mod limits;
mod properties;
mod reference;
mod rules;
mod scenarios;
