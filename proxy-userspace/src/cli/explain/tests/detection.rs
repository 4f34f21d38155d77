//! Who is a local pod: A60–A63, and who the node itself.

use super::{HERE, HERE_AT, World, service, slice, world};

#[track_caller]
fn expect(world: &World, from: &str, is_pod: bool, rule: &str) {
    let masqueraded = if is_pod { "" } else { " masqueraded" };
    world
        .ask(&format!("{from} -> 10.96.0.10:80/TCP"))
        .is(&format!("forward {HERE_AT}{masqueraded}"))
        .by(&["A20", rule, "A40"]);
}

fn objects() -> [String; 2] {
    [service(""), slice(&[HERE])]
}

fn run(flags: &[&str]) -> World {
    let start = world(&objects().each_ref().map(String::as_str));
    flags.iter().fold(start, |world, flag| world.with(flag))
}

#[test]
fn a60_the_network_of_the_family_counts() {
    let world = run(&["--cluster-cidr=fd00:10:244::/48,10.244.0.0/16"]);
    expect(&world, "10.244.9.9", true, "A60");
    expect(&world, "10.99.0.1", false, "A60");
}

#[test]
fn a61_the_nodes_own_pods() {
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nspec: {podCIDRs: \
                [10.244.1.0/24, 'fd00:10:244:1::/64']}\n";
    let [service, slice] = objects();
    let told = world(&[&service, &slice, node]).with("--detect-local-mode=NodeCIDR");
    expect(&told, "10.244.1.7", true, "A61");
    expect(&told, "10.244.2.7", false, "A61");
    expect(&told, "192.0.2.1", false, "A61");
    // Another node's networks are none (A17c).
    let other = node.replace("n1", "n2");
    let untold = world(&[&service, &slice, &other]).with("--detect-local-mode=nodecidr");
    expect(&untold, "10.244.1.7", true, "A45");
}

#[test]
fn a62_the_bridge_they_enter_by() {
    let world = run(&["--detect-local-mode=BridgeInterface", "--pod-bridge-interface=cni0"]);
    expect(&world, "10.244.1.7@cni0", true, "A62");
    expect(&world, "10.244.1.7@eth0", false, "A62");
    expect(&world, "10.244.1.7@cni01", false, "A62");
    expect(&world, "10.244.1.7", false, "A62");
}

#[test]
fn a63_the_start_of_the_interfaces_name() {
    let world =
        run(&["--detect-local-mode=InterfaceNamePrefix", "--pod-interface-name-prefix=cali"]);
    expect(&world, "10.244.1.7@cali123", true, "A63");
    expect(&world, "203.0.113.5@cali123", true, "A63");
    expect(&world, "10.244.1.7@eth0", false, "A63");
    expect(&world, "192.0.2.1", false, "A63");
}

#[test]
fn a43_every_address_of_the_node_is_the_node() {
    let slice = slice(&["{addresses: [10.244.2.5], nodeName: n2}"]);
    let world = world(&[&service("externalTrafficPolicy: Local"), &slice]);
    for from in ["192.0.2.1", "198.18.0.1", "127.0.0.1"] {
        let answer = world.ask(&format!("{from} -> 192.0.2.1:30080/TCP"));
        answer.is("forward 10.244.2.5:8080 masqueraded").by(&["A43"]);
    }
    world.ask("192.0.2.2 -> 192.0.2.1:30080/TCP").is("drop").by(&["A44", "A49"]);
}

#[test]
fn a17_the_node_object_names_the_nodes_addresses() {
    let node = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {addresses: \
                [{type: InternalIP, address: 192.0.2.77}]}\n";
    let [service, slice] = objects();
    let mut world = world(&[&service, &slice, node]).with("--nodeport-addresses=primary");
    let ask = |world: &World, at: &str, expected: &str| {
        world.ask(&format!("203.0.113.5 -> {at}:30080/TCP")).is(expected);
    };
    let forward = format!("forward {HERE_AT} masqueraded");
    ask(&world, "192.0.2.1", &forward);
    ask(&world, "192.0.2.77", "untouched");
    world.flags.retain(|flag| !flag.starts_with("--node-ip") && !flag.starts_with("--local"));
    ask(&world, "192.0.2.1", "untouched");
    ask(&world, "192.0.2.77", &forward);
}
