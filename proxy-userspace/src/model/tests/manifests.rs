//! Kubernetes manifests in, the text of the maps out: one file a rule of the contract, named after
//! it, in `proxy-userspace/tests/scenarios`.
//!
//! Each file's objects arrive one by one, in many orders and after the objects of another file; the
//! text is the same each time. `SLUICE_BLESS=1` writes the expected texts anew: read the
//! difference against the contract before committing it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::super::{
    Model,
    limits::Limits,
    mirror::Mirror,
    spec::{Change, Event},
    text,
};
use super::build::{self, HERE};
use crate::source::manifest;

/// So many orders of each file's events are tried.
const ORDERS: u64 = 60;

/// The manifests, in the order of their names.
fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let entries = fs::read_dir(&folder).expect("the folder of scenarios");
    let paths = entries.map(|entry| entry.expect("an entry of the folder").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|suffix| suffix == "yaml")).collect();
    files.sort();
    assert!(!files.is_empty(), "no scenarios in {}", folder.display());
    files
}

/// The first lists split into one event an object.
fn one_by_one(events: Vec<Event>) -> Vec<Event> {
    events
        .into_iter()
        .flat_map(|event| match event {
            Event::Services(Change::Replace(all)) => {
                all.into_iter().map(|(n, s)| Event::Services(Change::Apply(n, s))).collect()
            }
            Event::Slices(Change::Replace(all)) => {
                all.into_iter().map(|(n, s)| Event::Slices(Change::Apply(n, s))).collect()
            }
            other => vec![other],
        })
        .collect()
}

/// A permutation for every number: Fisher and Yates, with a linear congruential generator.
fn shuffle<T>(items: &mut [T], order: u64) {
    let mut state = order;
    for i in (1..items.len()).rev() {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let remaining = u64::try_from(i + 1).expect("a small number");
        items.swap(i, usize::try_from((state >> 33) % remaining).expect("a small number"));
    }
}

fn empty() -> Model {
    let mut model = build::model(Limits::default(), Mirror::default());
    model.handle(Event::Services(Change::Replace(BTreeMap::new())));
    model.handle(Event::Slices(Change::Replace(BTreeMap::new())));
    model
}

/// What the maps should hold, and what is wrong with the objects.
fn outcome(model: &mut Model) -> String {
    model.plan();
    let mut outcome = text::dump(&model.wanted());
    for problem in model.problems() {
        outcome.push_str(&format!("problem: {problem}\n"));
    }
    outcome
}

fn in_order(events: &[Event], order: u64) -> String {
    let mut events = events.to_vec();
    shuffle(&mut events, order);
    let mut model = empty();
    for event in events {
        model.handle(event);
        model.plan();
    }
    outcome(&mut model)
}

/// The objects of one file, after those of another.
fn after(before: &[Event], events: &[Event]) -> String {
    let mut model = empty();
    for event in before {
        model.handle(event.clone());
        if let Event::Problem(problem) = event {
            model.handle(Event::Cleared(problem.subject.clone()));
        }
    }
    model.plan();
    for event in events {
        model.handle(event.clone());
        model.plan();
    }
    outcome(&mut model)
}

#[test]
fn manifests_become_the_maps_that_the_contract_asks_for() {
    let bless = std::env::var_os("SLUICE_BLESS").is_some();
    let mut before: Vec<Event> = Vec::new();
    let mut wrong = Vec::new();
    for file in files() {
        let all = manifest::events_of(&file, HERE);
        let expected_file = file.with_extension("txt");
        if bless {
            let first = in_order(&one_by_one(all.clone()), 0);
            fs::write(&expected_file, first).expect("the folder of scenarios can be written");
        }
        let expected = fs::read_to_string(&expected_file).expect("SLUICE_BLESS=1 writes it");
        let mut outcomes = vec![(after(&before, &all), "after another file".to_owned())];
        let events = one_by_one(all.clone());
        outcomes.extend((0..ORDERS).map(|o| (in_order(&events, o), format!("in order {o}"))));
        if let Some((actual, how)) = outcomes.into_iter().find(|(text, _)| *text != expected) {
            wrong.push(format!("{} {how} gives\n{actual}\nnot\n{expected}", file.display()));
        }
        before = all;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
