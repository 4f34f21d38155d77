//! The verdict and masquerade matrix: A40–A53.

use super::{
    BOTH_AT, CLIENT, HERE, HERE_AT, POD, PORT, THERE, THERE_AT, World, balanced, service,
    service_of, slice, world,
};

const NODE: &str = "192.0.2.1";
const CLUSTER_IP: &str = "10.96.0.10:80";
const NODE_PORT: &str = "192.0.2.1:30080";
const VIP: &str = "198.51.100.9:80";

#[track_caller]
fn expect(world: &World, from: &str, to: &str, expected: &str, rules: &[&str]) {
    world.ask(&format!("{from} -> {to}/TCP")).is(expected).by(rules);
}

fn both() -> World {
    world(&[&service(""), &slice(&[HERE, THERE])])
}

#[test]
fn a40_cluster_ips_masquerade_all_but_local_pods() {
    let (kept, masqueraded) =
        (format!("forward {BOTH_AT}"), format!("forward {BOTH_AT} masqueraded"));
    let world = both();
    expect(&world, POD, CLUSTER_IP, &kept, &["A20", "A60", "A40"]);
    expect(&world, NODE, CLUSTER_IP, &masqueraded, &["A20", "A60", "A40"]);
    expect(&world, CLIENT, CLUSTER_IP, &masqueraded, &["A20", "A60", "A40"]);
    // A60 goes by the address: the bridge's counts as a pod's.
    expect(&world, "10.244.1.1", CLUSTER_IP, &kept, &["A60", "A40"]);
    let all = world.with("--masquerade-all");
    expect(&all, POD, CLUSTER_IP, &masqueraded, &["A20", "A40"]);
}

#[test]
fn a41_external_frontends_masquerade_everybody() {
    let world = world(&[&balanced(""), &slice(&[HERE, THERE])]);
    for from in [POD, NODE, CLIENT] {
        for to in [NODE_PORT, VIP] {
            let expected = format!("forward {BOTH_AT} masqueraded");
            expect(&world, from, to, &expected, &["A41", "A33"]);
        }
    }
}

#[test]
fn a42_a43_a44_the_local_policy_depends_on_who_asks() {
    let world = world(&[&balanced("externalTrafficPolicy: Local"), &slice(&[HERE, THERE])]);
    for to in [NODE_PORT, VIP] {
        expect(&world, POD, to, &format!("forward {BOTH_AT}"), &["A60", "A42"]);
        expect(&world, NODE, to, &format!("forward {BOTH_AT} masqueraded"), &["A60", "A43"]);
        expect(&world, CLIENT, to, &format!("forward {HERE_AT}"), &["A60", "A44", "A34"]);
    }
}

#[test]
fn a45_without_a_detector_there_are_no_pods() {
    let spec = balanced("externalTrafficPolicy: Local");
    let world = world(&[&spec, &slice(&[HERE, THERE])]).with("--cluster-cidr=fd00:10:244::/48");
    for from in [POD, NODE, CLIENT] {
        expect(&world, from, CLUSTER_IP, &format!("forward {BOTH_AT}"), &["A45", "A40"]);
    }
    expect(&world, POD, NODE_PORT, &format!("forward {HERE_AT}"), &["A45", "A44"]);
    expect(&world, NODE, NODE_PORT, &format!("forward {BOTH_AT} masqueraded"), &["A45", "A43"]);
    let all = world.with("--masquerade-all");
    expect(&all, POD, CLUSTER_IP, &format!("forward {BOTH_AT} masqueraded"), &["A40"]);
}

#[test]
fn a46_a_pod_that_reaches_itself_is_masqueraded() {
    let alone = world(&[&service("externalTrafficPolicy: Local"), &slice(&[HERE])]);
    let expected = format!("forward {HERE_AT} masqueraded");
    expect(&alone, "10.244.1.5", CLUSTER_IP, &expected, &["A40", "A46"]);
    expect(&alone, "10.244.1.5", NODE_PORT, &expected, &["A42", "A46"]);
    // Only if it is the one chosen: the answer holds for the others.
    let kept = format!("forward {BOTH_AT}");
    expect(&both(), "10.244.1.5", CLUSTER_IP, &kept, &["A40", "A46"]);
}

#[test]
fn a47_a50_nobody_there_is_a_reject() {
    let world = world(&[&balanced("externalIPs: [198.51.100.7]"), &slice(&[])]);
    for to in [CLUSTER_IP, NODE_PORT, VIP, "198.51.100.7:80"] {
        for from in [POD, NODE, CLIENT] {
            expect(&world, from, to, "reject", &["A47", "A50"]);
        }
    }
    world.ask("10.244.1.7 -> 10.96.0.10:80/TCP").of("default/web:http");
}

#[test]
fn a48_nobody_here_is_a_drop_at_the_cluster_ip_only() {
    let world = world(&[&service("internalTrafficPolicy: Local"), &slice(&[THERE])]);
    for from in [POD, NODE, CLIENT] {
        expect(&world, from, CLUSTER_IP, "drop", &["A48"]);
        expect(&world, from, NODE_PORT, &format!("forward {THERE_AT} masqueraded"), &["A41"]);
    }
}

#[test]
fn a49_nobody_here_is_a_drop_for_outsiders_only() {
    let world = world(&[&balanced("externalTrafficPolicy: Local"), &slice(&[THERE])]);
    for to in [NODE_PORT, VIP] {
        expect(&world, CLIENT, to, "drop", &["A44", "A49"]);
        expect(&world, POD, to, &format!("forward {THERE_AT}"), &["A42"]);
        expect(&world, NODE, to, &format!("forward {THERE_AT} masqueraded"), &["A43"]);
    }
}

#[test]
fn a51_a_cluster_ip_rejects_ports_it_does_not_have() {
    for endpoints in [&[HERE][..], &[]] {
        let world = world(&[&service(""), &slice(endpoints)]);
        for from in [POD, NODE, CLIENT] {
            expect(&world, from, "10.96.0.10:81", "reject", &["A51", "A50"]);
            world.ask(&format!("{from} -> 10.96.0.10:80/UDP")).is("reject").by(&["A51"]);
            // Not even its NodePort's.
            expect(&world, from, "10.96.0.10:30080", "reject", &["A51"]);
        }
        // Also where no ServiceCIDR is known.
        let world = world.with("--service-cidr=");
        expect(&world, POD, "10.96.0.10:81", "reject", &["A51"]);
    }
    expect(&both(), POD, "192.0.2.1:81", "untouched", &[]);
}

#[test]
fn a52_a_cluster_ip_that_nobody_has_drops() {
    let world = both();
    expect(&world, POD, "10.97.1.2:80", "drop", &["A52"]);
    world.ask("10.244.1.7 -> 10.97.1.2:80/TCP").of("");
    world.ask("fd00:10:244:1::7 -> [fd00:10:96::77]:53/UDP").is("drop").by(&["A52"]);
    expect(&world, POD, "10.112.0.1:80", "untouched", &[]);
    let object = "apiVersion: networking.k8s.io/v1\nkind: ServiceCIDR\nmetadata: {name: more}\n\
                  spec: {cidrs: [10.112.0.0/16]}\n";
    let more = super::world(&[&service(""), object]);
    expect(&more, POD, "10.112.0.1:80", "drop", &["A52"]);
    expect(&more, POD, "10.97.1.2:80", "drop", &["A52"]);
}

#[test]
fn a53_source_ranges_guard_load_balancer_addresses() {
    let spec = balanced(
        "externalIPs: [198.51.100.7], loadBalancerSourceRanges: [' 203.0.113.0/24 ', 10.244.1.0/24]",
    );
    let world = world(&[&spec, &slice(&[HERE])]);
    let forward = format!("forward {HERE_AT} masqueraded");
    expect(&world, CLIENT, VIP, &forward, &["A21", "A53", "A41"]);
    expect(&world, POD, VIP, &forward, &["A53", "A41"]);
    for from in ["10.244.2.7", "203.0.112.1", NODE, "127.0.0.1"] {
        expect(&world, from, VIP, "drop", &["A21", "A53"]);
        for free in [NODE_PORT, "198.51.100.7:80"] {
            expect(&world, from, free, &forward, &["A41"]);
        }
    }
}

#[test]
fn a53_the_blocked_are_dropped_even_where_nobody_is() {
    let spec = balanced("loadBalancerSourceRanges: [203.0.113.0/24]");
    let world = world(&[&spec, &slice(&[])]);
    expect(&world, POD, VIP, "drop", &["A53"]);
    expect(&world, CLIENT, VIP, "reject", &["A53", "A47"]);
}

#[test]
fn a53_a_node_in_the_list_may_loop_to_the_address() {
    let spec = balanced("loadBalancerSourceRanges: [192.0.2.0/24]");
    let world = world(&[&spec, &slice(&[HERE])]);
    let forward = format!("forward {HERE_AT} masqueraded");
    for from in [NODE, "127.0.0.1", "198.51.100.9"] {
        expect(&world, from, VIP, &forward, &["A53"]);
    }
    expect(&world, "198.18.0.1", VIP, "drop", &["A53"]);
}

#[test]
fn a16_a_zero_prefix_or_the_other_family_restricts_nothing() {
    for ranges in ["10.0.0.0/8, 0.0.0.0/0", "'2001:db8::/32'", "''"] {
        let spec = balanced(&format!("loadBalancerSourceRanges: [{ranges}]"));
        let world = world(&[&spec, &slice(&[HERE])]);
        expect(&world, CLIENT, VIP, &format!("forward {HERE_AT} masqueraded"), &["A41"]);
    }
}

#[test]
fn a71_affinity_leaves_the_candidates_as_they_are() {
    let spec = format!(
        "clusterIP: 10.96.0.10, ports: [{PORT}], sessionAffinity: ClientIP, \
         sessionAffinityConfig: {{clientIP: {{timeoutSeconds: 60}}}}"
    );
    let world = world(&[&service_of("web", "", &spec, ""), &slice(&[HERE, THERE])]);
    expect(&world, POD, CLUSTER_IP, &format!("forward {BOTH_AT}"), &["A71"]);
}
