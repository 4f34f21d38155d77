//! loadBalancerSourceRanges: A16 and A53.

use super::super::{limits::Limits, spec::ServiceSpec};
use super::build::{World, ip, net, service};

const LB: &str = "203.0.113.1:80/tcp default/web external -> none; reject";
const LB6: &str = "[2001:db8::1]:80/tcp default/web external -> none; reject";

fn guarded(ranges: &[&str]) -> ServiceSpec {
    ServiceSpec {
        cluster_ips: vec![ip("10.96.0.10"), ip("fd00::10")],
        load_balancer_ips: vec![ip("203.0.113.1"), ip("2001:db8::1")],
        source_ranges: ranges.iter().map(|range| net(range)).collect(),
        ..service("10.96.0.10")
    }
}

fn frontends(spec: ServiceSpec) -> Vec<String> {
    let mut world = World::new();
    world.add("web", spec);
    world.frontends()
}

#[test]
fn a16_what_restricts_a_family() {
    let rows: &[(&str, &[&str], &str, &str)] = &[
        ("no range at all", &[], "", ""),
        (
            "one family's ranges say nothing of the other",
            &["198.51.100.0/24"],
            "198.51.100.0/24",
            "",
        ),
        ("the other way round", &["2001:db8:1::/48"], "", "2001:db8:1::/48"),
        ("everything", &["198.51.100.0/24", "0.0.0.0/0"], "", ""),
        ("everything, of one family", &["198.51.100.0/24", "::/0"], "198.51.100.0/24", ""),
        (
            "several, twice",
            &["198.51.100.0/24", "10.0.0.0/8", "198.51.100.0/24"],
            "10.0.0.0/8, 198.51.100.0/24",
            "",
        ),
    ];
    let shown = |line: &str, from: &str| match from {
        "" => line.to_owned(),
        from => format!("{line}; from {from}"),
    };
    for (what, ranges, v4, v6) in rows {
        let lines = frontends(guarded(ranges));
        assert!(lines.contains(&shown(LB, v4)), "{what}: {lines:?}");
        assert!(lines.contains(&shown(LB6, v6)), "{what}: {lines:?}");
    }
}

#[test]
fn a53_only_load_balancer_addresses_are_guarded() {
    let mut spec = guarded(&["198.51.100.0/24"]);
    spec.external_ips = vec![ip("203.0.113.2")];
    spec.ports[0].node_port = 30080;
    let lines = frontends(spec);
    let restricted: Vec<_> = lines.iter().filter(|line| line.contains("; from ")).collect();
    assert_eq!(restricted, [&format!("{LB}; from 198.51.100.0/24")], "{lines:?}");
    assert_eq!(lines.len(), 7, "{lines:?}");
}

#[test]
fn a53_an_external_ip_that_is_the_load_balancers_is_guarded() {
    // kube-proxy's firewall-ips knows only address, protocol and port.
    for external in ["203.0.113.1", "10.96.0.10"] {
        let mut spec = guarded(&["198.51.100.0/24"]);
        spec.load_balancer_ips = vec![ip(external)];
        spec.external_ips = vec![ip(external)];
        let lines = frontends(spec);
        let at = lines.iter().find(|line| line.starts_with(external)).expect("a frontend");
        assert!(at.ends_with("; from 198.51.100.0/24"), "{lines:?}");
    }
}

#[test]
fn a53_a_list_with_this_node_admits_it_at_any_address() {
    let mut world = World::new();
    world.add("web", guarded(&["192.0.2.0/24", "fd03::/16"]));
    let here = "; from 192.0.2.0/24, 203.0.113.1/32 and this node";
    let admitted = format!("{LB}{here}");
    assert!(world.frontends().contains(&admitted));
    assert!(world.frontends().contains(&format!("{LB6}; from fd03::/16")));
    world.model.set_primary_addresses(vec![ip("192.0.3.1"), ip("fd03::1")]);
    assert!(world.frontends().contains(&format!("{LB}; from 192.0.2.0/24")));
    let here = "; from 2001:db8::1/128, fd03::/16 and this node";
    assert!(world.frontends().contains(&format!("{LB6}{here}")));
    world.model.set_primary_addresses(vec![ip("192.0.2.9")]);
    assert!(world.frontends().contains(&admitted));
}

#[test]
fn a53_each_port_has_its_own_set_and_takes_it_along() {
    let mut world = World::new();
    let mut spec = guarded(&["198.51.100.0/24"]);
    spec.ports.push(super::build::port("more", 81));
    world.add("web", spec);
    world.step();
    assert_eq!(world.maps.content().v4.prefixes.len(), 2);
    world.delete("web");
    world.step();
    assert!(world.maps.content().v4.prefixes.is_empty());
    assert_eq!(world.text(), "");
}

#[test]
fn a53_what_does_not_fit_is_kept_out() {
    let mut world = World::with(Limits { prefixes: 8, ..Limits::default() });
    let many = ["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"];
    world.add("web", guarded(&many));
    assert!(world.frontends().contains(&format!("{LB}; from 10.0.0.0/8, 11.0.0.0/8")), "a quarter");
    let text = "Service default/web: 1 IPv4 loadBalancerSourceRanges of default/web do not fit, so \
                their clients are dropped: the port has more than a quarter of map PREFIXES; raise \
                --max-prefixes";
    assert_eq!(problems(&mut world), [text]);
}

#[test]
fn a53_a_full_map_closes_and_opens_when_there_is_room() {
    let mut world = World::with(Limits { prefixes: 1, ..Limits::default() });
    let other = ServiceSpec {
        cluster_ips: vec![ip("10.96.0.9")],
        load_balancer_ips: vec![ip("203.0.113.9")],
        ..guarded(&["198.51.100.0/24"])
    };
    world.add("first", other);
    world.step();
    world.add("web", guarded(&["10.0.0.0/8"]));
    let closed = format!("{LB}; from ");
    assert!(world.frontends().contains(&closed), "{:?}", world.frontends());
    let text = "Service default/web: 1 IPv4 loadBalancerSourceRanges of default/web do not fit, so \
                their clients are dropped: map PREFIXES is full; raise --max-prefixes";
    assert_eq!(problems(&mut world), [text]);
    world.delete("first");
    world.step();
    world.wait();
    assert!(!world.model.is_settled(), "so the controller asks for a plan");
    assert!(world.frontends().contains(&format!("{LB}; from 10.0.0.0/8")));
    assert_eq!(problems(&mut world), [""; 0]);
}

#[test]
fn a53_a_full_map_changes_its_ranges_one_after_the_other() {
    // The new one has no room until the old one is gone; nobody is let in meanwhile.
    let mut world = World::with(Limits { prefixes: 1, ..Limits::default() });
    world.add("web", guarded(&["198.51.100.0/24"]));
    world.step();
    world.add("web", guarded(&["10.0.0.0/8"]));
    assert!(world.frontends().contains(&format!("{LB}; from ")));
    world.wait();
    assert!(world.frontends().contains(&format!("{LB}; from 10.0.0.0/8")));
    assert_eq!(problems(&mut world), [""; 0]);
}

fn problems(world: &mut World) -> Vec<String> {
    world.step();
    world.model.problems().map(ToString::to_string).collect()
}

#[test]
fn a71_a_change_of_only_the_timeout_or_the_ranges_is_written() {
    let mut world = World::new();
    world.add("web", guarded(&["198.51.100.0/24"]));
    world.slice("web", &["10.1.0.1"]);
    world.step();
    world.add("web", ServiceSpec { affinity_timeout: 60, ..guarded(&["198.51.100.0/24"]) });
    assert_eq!(world.step().0, 4, "each frontend once");
    assert!(world.frontends()[0].contains("; affinity 60s"));
    world.add("web", ServiceSpec { affinity_timeout: 60, ..guarded(&["198.51.100.0/25"]) });
    assert_eq!(world.step().0, 2, "one range in, one out");
    world.add("web", ServiceSpec { affinity_timeout: 60, ..guarded(&[]) });
    assert_eq!(world.step().0, 2, "the frontend, then the range");
}
