//! Services with Maglev tables: the client's port decides.

use super::{CLIENT, HERE, POD, THERE, World, balanced, slice, world};

const EITHER: [&str; 2] = ["forward 10.244.1.5:8080", "forward 10.244.2.5:8080"];

/// A Service whose backends the flow's hash chooses.
fn hashed(spec: &str) -> World {
    let service =
        balanced(spec).replace("labels:", "annotations: {sluice.io/lb-algorithm: maglev}, labels:");
    world(&[&service, &slice(&[HERE, THERE])])
}

/// The verdict and backends from a source port.
fn from_port(world: World, port: u16, question: &str) -> String {
    let answer = world.with(&format!("--from-port={port}")).ask(question);
    let backends = answer.json["backends"].as_array().expect("backends");
    let backends: Vec<&str> = backends.iter().filter_map(|at| at.as_str()).collect();
    format!("{} {}", answer.json["verdict"].as_str().expect("a verdict"), backends.join(" "))
}

#[test]
fn a_source_port_names_the_backend() {
    let question = format!("{POD} -> 10.96.0.10:80/TCP");
    let answers: Vec<String> =
        (40_000..40_016).map(|port| from_port(hashed(""), port, &question)).collect();
    assert!(EITHER.iter().all(|one| answers.iter().any(|answer| answer == one)), "{answers:?}");
    assert_eq!(from_port(hashed(""), 40_000, &question), answers[0]);
}

#[test]
fn without_a_port_there_are_candidates() {
    let answer = hashed("").ask(&format!("{POD} -> 10.96.0.10:80/TCP"));
    assert_eq!(answer.json["backends"].as_array().expect("backends").len(), 2);
}

#[test]
fn a70_with_affinity_the_port_does_not_matter_and_the_entry_may_say_otherwise() {
    let question = format!("{CLIENT} -> 198.51.100.9:80/TCP");
    let sticky = || hashed("sessionAffinity: ClientIP");
    let answer = from_port(sticky(), 40_000, &question);
    assert_eq!(answer, "forward 10.244.1.5:8080 10.244.2.5:8080");
}

#[test]
fn the_flag_decides_for_services_without_the_annotation() {
    let objects = [balanced(""), slice(&[HERE, THERE])];
    let world = || {
        let world = world(&[&objects[0], &objects[1]]);
        world.with("--lb-algorithm=maglev")
    };
    let question = format!("{POD} -> 10.96.0.10:80/TCP");
    let answer = from_port(world(), 40_000, &question);
    assert_eq!(answer, from_port(hashed(""), 40_000, &question));
    let error = super::run(&[
        "sluice explain",
        "--from=10.0.0.1",
        "--to=10.0.0.2:80/TCP",
        "--manifests=/nowhere",
        "--lb-algorithm=magpie",
    ]);
    assert!(error.expect_err("a bad flag").contains("neither random nor maglev"));
}
