//! Which objects count, and where they are reached: A1–A24, A101, C44.

use super::{
    BOTH_AT, CLIENT, HERE, HERE_AT, POD, PORT, THERE, balanced, service, service_of, slice,
    slice_of, world,
};

/// What [`service`] has but for the name of the proxy.
const SPEC: &str = "clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]";

#[test]
fn a1_another_proxys_service_is_as_good_as_absent() {
    let labels = "service.kubernetes.io/service-proxy-name: other";
    let objects = [service_of("web", labels, SPEC, ""), slice(&[HERE])];
    let world = world(&objects.each_ref().map(String::as_str));
    world.ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("drop").by(&["A1", "A52"]).of("");
    let outside = world.with("--service-cidr=10.200.0.0/16");
    outside.ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("untouched").by(&["A1"]).of("");
}

#[test]
fn a2_headless_and_external_names_have_no_rules() {
    for spec in ["clusterIP: None", "type: ExternalName, clusterIP: 10.96.0.10, externalName: x"] {
        let object = service_of("web", "", &format!("{spec}, ports: [{PORT}]"), "");
        let world = world(&[&object, &slice(&[HERE])]);
        world.ask("10.244.1.7 -> 192.0.2.1:30080/TCP").is("untouched");
        world.ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("drop");
    }
}

#[test]
fn a3_slices_of_headless_services_and_of_none_do_not_count() {
    let port = "{name: http, port: 8080}";
    let headless = slice_of("web", "service.kubernetes.io/headless: ''", port, &[HERE]);
    world(&[&service(""), &headless]).ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("reject");
    let strangers = slice(&[HERE]).replace("kubernetes.io/service-name", "other");
    world(&[&service(""), &strangers]).ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("reject");
}

#[test]
fn a4_ports_join_by_name_and_protocol() {
    let ports = "{name: a, port: 53, protocol: UDP}, {name: a, port: 53, protocol: TCP}, \
                 {name: b, port: 54, protocol: SCTP}";
    let spec = format!("clusterIP: 10.96.0.10, ports: [{ports}]");
    let slices = [
        slice_of("web", "", "{name: a, port: 1053, protocol: UDP}", &[HERE]),
        slice_of("web", "", "{name: a, port: 2053, protocol: UDP}", &[THERE]),
        slice_of("web", "", "{name: b, port: 1054, protocol: SCTP}", &[HERE]),
    ];
    let objects = [service_of("web", "", &spec, ""), slices.join("---\n")];
    let world = world(&objects.each_ref().map(String::as_str));
    let udp = world.ask("10.244.1.7 -> 10.96.0.10:53/udp");
    udp.is("forward 10.244.1.5:1053 10.244.2.5:2053").of("default/web:a");
    world.ask("10.244.1.7 -> 10.96.0.10:53/Tcp").is("reject").of("default/web:a");
    world.ask("10.244.1.7 -> 10.96.0.10:54/SCTP").is("forward 10.244.1.5:1054");
}

#[test]
fn a5_a6_what_has_no_number_or_address_is_ignored() {
    let port = "{name: http}, {name: http, port: 0}";
    world(&[&service(""), &slice_of("web", "", port, &[HERE])])
        .ask("10.244.1.7 -> 10.96.0.10:80/TCP")
        .is("reject");
    let first = slice(&["{addresses: [10.244.1.5, 10.244.1.6]}", "{addresses: []}"]);
    world(&[&service(""), &first])
        .ask("10.244.1.7 -> 10.96.0.10:80/TCP")
        .is(&format!("forward {HERE_AT}"));
    let names = slice(&[HERE]).replace("IPv4", "FQDN");
    world(&[&service(""), &names]).ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("reject");
}

#[test]
fn a10_sloppy_addresses_are_decimal() {
    let spec = "externalIPs: [198.051.100.007, '', ' ']";
    let endpoint = "{addresses: [010.244.001.005]}";
    world(&[&service(spec), &slice(&[endpoint])])
        .ask("203.0.113.5 -> 198.51.100.7:80/TCP")
        .is(&format!("forward {HERE_AT} masqueraded"));
}

#[test]
fn a11_families_are_separate() {
    let spec = format!(
        "clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10, 'fd00:10:96::10'], \
         ipFamilies: [IPv4, IPv6], ports: [{PORT}]"
    );
    let six = slice(&["{addresses: ['fd00:10:244:1::5'], nodeName: n1}"]);
    let world = world(&[&service_of("web", "", &spec, ""), &six]);
    world
        .ask("fd00:10:244:1::7 -> [fd00:10:96::10]:80/TCP")
        .is("forward [fd00:10:244:1::5]:8080")
        .of("default/web:http");
    world
        .ask("2001:db8:9::5 -> [2001:db8::1]:30080/TCP")
        .is("forward [fd00:10:244:1::5]:8080 masqueraded");
    world.ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("reject");
}

#[test]
fn a13_without_node_ports_there_is_none() {
    let spec = "clusterIP: 10.96.0.10, allocateLoadBalancerNodePorts: false, \
                ports: [{name: http, port: 80}]";
    world(&[&service_of("web", "", spec, ""), &slice(&[HERE])])
        .ask("203.0.113.5 -> 192.0.2.1:30080/TCP")
        .is("untouched");
}

#[test]
fn a14_host_names_and_proxies_are_no_frontends() {
    let spec = format!("type: LoadBalancer, clusterIP: 10.96.0.10, ports: [{PORT}]");
    let ingress = "{ip: 198.51.100.1, ipMode: Proxy}, {hostname: x.example}, \
                   {ip: 198.51.100.2, ipMode: VIP}, {ip: 198.51.100.3}";
    let world = world(&[&service_of("web", "", &spec, ingress), &slice(&[HERE])]);
    world.ask("10.244.1.7 -> 198.51.100.1:80/TCP").is("untouched").by(&["A14"]).of("");
    for vip in ["198.51.100.2", "198.51.100.3"] {
        world
            .ask(&format!("{POD} -> {vip}:80/TCP"))
            .is(&format!("forward {HERE_AT} masqueraded"))
            .by(&["A21", "A41"]);
    }
}

#[test]
fn a20_a21_a22_every_way_to_a_service() {
    let spec = balanced("externalIPs: [198.51.100.7]");
    let world = world(&[&spec, &slice(&[HERE, THERE])]);
    let cluster_ip = world.ask("10.244.1.7 -> 10.96.0.10:80/TCP");
    cluster_ip.is(&format!("forward {BOTH_AT}")).by(&["A20", "A40"]).of("default/web:http");
    for (to, rule) in
        [("198.51.100.9:80", "A21"), ("198.51.100.7:80", "A21"), ("192.0.2.1:30080", "A22")]
    {
        let answer = world.ask(&format!("{CLIENT} -> {to}/TCP"));
        answer.is(&format!("forward {BOTH_AT} masqueraded")).by(&[rule, "A41"]);
    }
    // The service's port is none of the node's, nor is the NodePort one of the service's addresses.
    world.ask("203.0.113.5 -> 192.0.2.1:80/TCP").is("untouched");
    world.ask("203.0.113.5 -> 198.51.100.9:30080/TCP").is("untouched");
}

#[test]
fn a22_another_nodes_node_port_is_its_own_affair() {
    world(&[&service(""), &slice(&[HERE])])
        .ask("10.244.1.7 -> 192.0.2.2:30080/TCP")
        .is("untouched")
        .by(&["A22"])
        .of("");
}

#[test]
fn a22_a101_loopback_serves_the_nodes_sockets_only() {
    let world = world(&[&service(""), &slice(&[HERE])]);
    for from in ["127.0.0.1", "192.0.2.1"] {
        let answer = world.ask(&format!("{from} -> 127.0.0.1:30080/TCP"));
        answer.is(&format!("forward {HERE_AT} masqueraded")).by(&["A101", "A22"]);
    }
    for from in [POD, CLIENT] {
        world.ask(&format!("{from} -> 127.0.0.1:30080/TCP")).is("untouched").by(&["A22"]);
    }
    let primary = world.with("--nodeport-addresses=primary");
    primary.ask("127.0.0.1 -> 127.0.0.1:30080/TCP").is("untouched").by(&["A23"]);
}

#[test]
fn a23_node_port_addresses() {
    let forward = format!("forward {HERE_AT} masqueraded");
    let objects = [service(""), slice(&[HERE])];
    let run = |flag: &str| world(&objects.each_ref().map(String::as_str)).with(flag);
    // A100: all of them, unless told otherwise.
    let all = run("--masquerade-all=false");
    let primary = run("--nodeport-addresses=primary");
    let network = run("--nodeport-addresses=198.18.0.0/16");
    let other_family = run("--nodeport-addresses=2001:db8::/32");
    let zero = run("--nodeport-addresses=0.0.0.0/0,198.18.0.0/16");
    for (world, at, expected) in [
        (&all, "192.0.2.1", forward.as_str()),
        (&all, "198.18.0.1", &forward),
        (&primary, "192.0.2.1", &forward),
        (&primary, "198.18.0.1", "untouched"),
        (&network, "192.0.2.1", "untouched"),
        (&network, "198.18.0.1", &forward),
        (&other_family, "198.18.0.1", &forward),
        (&zero, "192.0.2.1", &forward),
    ] {
        let answer = world.ask(&format!("{CLIENT} -> {at}:30080/TCP")).is(expected);
        if expected == "untouched" {
            answer.by(&["A23"]);
        }
    }
}

#[test]
fn c44_a_cluster_ip_that_is_bound_here_is_answered_here() {
    let world = world(&[&service(""), &slice(&[HERE])]).with("--local-address=10.96.0.10");
    world.ask("10.244.1.7 -> 10.96.0.10:80/TCP").is("untouched");
    world.ask("10.244.1.7 -> 10.96.0.10:81/TCP").is("untouched");
}
