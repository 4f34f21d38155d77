//! Ports that a cluster IP does not have, and cluster IPs that no Service has: A18, A51, A52, A102.

use std::collections::{BTreeMap, BTreeSet};

use sluice_common::settings::{Settings, flags};

use super::super::{
    limits::Limits,
    mirror::Mirror,
    spec::{Event, ServiceSpec},
};
use super::build::{World, ip, list, model, name, net, port, service, settings};
use crate::dataplane::{apply, fake::FakeMaps};

fn marks(world: &mut World) -> Vec<String> {
    let text = world.text();
    text.lines().filter_map(|line| line.strip_suffix(" cluster IP")).map(str::to_owned).collect()
}

fn written(world: &mut World) -> Settings {
    world.step();
    world.maps.content().settings.expect("settings")
}

/// Address and mask of `services_v4`.
fn range(world: &mut World) -> Option<([u8; 4], [u8; 4])> {
    let settings = written(world);
    let prefix = (settings.services_v4.addr.bytes, settings.services_v4.mask.bytes);
    (settings.flags & flags::CLUSTER_IPS_V4 != 0).then_some(prefix)
}

#[test]
fn a51_every_cluster_ip_is_marked_once_whatever_its_endpoints() {
    let mut world = World::new();
    let mut spec = ServiceSpec {
        cluster_ips: vec![ip("10.96.0.10"), ip("fd00::10")],
        external_ips: vec![ip("192.0.2.1")],
        ..service("10.96.0.10")
    };
    spec.ports.push(port("more", 81));
    world.add("web", spec);
    world.add("other", service("10.96.0.11"));
    assert_eq!(marks(&mut world), ["10.96.0.10", "10.96.0.11", "fd00::10"]);
    world.add("web", service("10.96.0.10"));
    assert_eq!(marks(&mut world), ["10.96.0.10", "10.96.0.11"], "one port is left, one family");
    world.delete("web");
    assert_eq!(marks(&mut world), ["10.96.0.11"]);
}

#[test]
fn a51_an_address_bound_here_is_not_marked() {
    let mut world = World::new();
    world.add("dns", service("10.96.0.10"));
    world.model.set_local_addresses(BTreeSet::from([ip("10.96.0.10")]));
    assert_eq!(marks(&mut world), [""; 0]);
    assert_eq!(range(&mut world), None);
    world.model.set_local_addresses(BTreeSet::new());
    assert_eq!(marks(&mut world), ["10.96.0.10"]);
}

#[test]
fn a51_a_mark_waits_for_the_ports_of_its_address() {
    let mut world = World::new();
    world.step();
    let mut spec = service("10.96.0.10");
    spec.ports.push(port("more", 81));
    world.add("web", spec);
    // Two names, settings, then the two frontends.
    world.maps.fault = Some(|write| write == 6);
    world.step();
    assert_eq!(world.maps.content().v4.frontends.len(), 1, "one port, and so no mark");
    world.maps.fault = None;
    assert_eq!(marks(&mut world), ["10.96.0.10"]);
}

#[test]
fn a52_the_settings_hold_every_cluster_ip_and_service_cidr() {
    let mut world = World::new();
    assert_eq!(range(&mut world), None, "nothing there");
    world.add("web", service("10.96.0.10"));
    assert_eq!(range(&mut world), Some(([10, 96, 0, 10], [255; 4])));
    world.add("other", service("10.96.0.13"));
    assert_eq!(range(&mut world), Some(([10, 96, 0, 8], [255, 255, 255, 248])));
    let cidrs = vec![net("10.96.0.0/12"), net("fd00::/112")];
    world.model.handle(Event::ServiceCidrs(cidrs));
    assert_eq!(range(&mut world), Some(([10, 96, 0, 0], [255, 240, 0, 0])));
    assert!(written(&mut world).flags & flags::CLUSTER_IPS_V6 != 0);
    let text = world.text();
    assert!(text.contains("service CIDR 10.96.0.0/12\n"), "{text}");
    assert!(text.contains("service CIDR fd00::/112\n"), "{text}");
    world.model.handle(Event::ServiceCidrs(Vec::new()));
    assert_eq!(range(&mut world), Some(([10, 96, 0, 8], [255, 255, 255, 248])));
    assert!(!world.text().contains("service CIDR"));
    assert_eq!(written(&mut world).flags & flags::CLUSTER_IPS_V6, 0);
}

#[test]
fn a102_nothing_is_rejected_where_nobody_asks() {
    let mut world = World::new();
    world.model.set_settings(Settings { flags: flags::MASQUERADE_ALL, ..settings() });
    world.add("web", service("10.96.0.10"));
    world.model.handle(Event::ServiceCidrs(vec![net("10.96.0.0/12")]));
    assert_eq!(written(&mut world).flags, flags::MASQUERADE_ALL);
    world.model.set_settings(settings());
    assert_eq!(range(&mut world), Some(([10, 96, 0, 0], [255, 240, 0, 0])));
}

#[test]
fn a90_service_cidrs_stay_over_a_restart_until_they_are_told() {
    let mut world = World::new();
    world.add("web", service("10.96.0.10"));
    world.model.handle(Event::ServiceCidrs(vec![net("10.96.0.0/12")]));
    let before = range(&mut world);
    let content = world.maps.content().clone();
    let mut after = World {
        model: model(Limits::default(), content.clone()),
        maps: FakeMaps::holding(content),
    };
    assert_eq!(after.step().0, 0, "not listed");
    let services = BTreeMap::from([(name("web"), service("10.96.0.10"))]);
    list(&mut after.model, services, BTreeMap::new());
    assert_eq!(after.step().0, 0, "listed, but for the ServiceCIDRs");
    assert_eq!(range(&mut after), before);
    after.model.handle(Event::ServiceCidrs(Vec::new()));
    assert_eq!(range(&mut after), Some(([10, 96, 0, 10], [255; 4])));
}

#[test]
fn a18_service_cidrs_that_do_not_fit_are_named() {
    let mut world = World::with(Limits { prefixes: 1, ..Limits::default() });
    let cidrs = vec![net("10.96.0.0/16"), net("10.98.0.0/16")];
    world.model.handle(Event::ServiceCidrs(cidrs));
    world.step();
    let problems: Vec<_> = world.model.problems().map(ToString::to_string).collect();
    let text = "map PREFIXES_V4: 1 ServiceCIDRs do not fit, so traffic to cluster IPs in them that \
                no Service has is not dropped; raise --max-prefixes";
    assert_eq!(problems, [text]);
    world.model.handle(Event::ServiceCidrs(vec![net("10.98.0.0/16")]));
    world.step();
    world.wait();
    assert!(world.text().contains("service CIDR 10.98.0.0/16"), "the old one had to go first");
    assert_eq!(world.model.problems().count(), 0);
}

#[test]
fn settings_that_failed_are_in_the_next_plan() {
    let content = Mirror::default();
    let mut world = World { model: model(Limits::default(), content), maps: FakeMaps::default() };
    world.maps.fault = Some(|write| write == 1);
    let (plan, _) = world.model.plan();
    let report = apply(&plan, &mut world.maps, &mut world.model);
    let line = "writing 1 of 1 settings failed: map FAKE: injected at write 1";
    assert_eq!(report.failures, [line], "settings are written before anything is listed");
    assert!(!report.is_complete() && !world.model.is_settled(), "so the controller retries");
    assert_eq!(world.step().0, 1);
    assert!(world.model.is_settled());
    assert_eq!(world.step().0, 0);
    let changed = Settings { netns_cookie: 8, ..settings() };
    world.model.set_settings(changed);
    assert_eq!(written(&mut world).netns_cookie, 8);
}
