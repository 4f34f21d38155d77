//! What the command line takes, and how it refuses.

use std::net::SocketAddr;

use super::{
    super::args::{Origin, Target},
    HERE, run, service, slice, world,
};
use crate::model::spec::Protocol;

#[test]
fn targets() {
    for (text, socket, protocol) in [
        ("10.96.0.1:443/TCP", "10.96.0.1:443", Protocol::Tcp),
        ("10.96.0.1:53/udp", "10.96.0.1:53", Protocol::Udp),
        ("[fd00::1]:53/Sctp", "[fd00::1]:53", Protocol::Sctp),
        ("[::ffff:10.96.0.1]:53/tcp", "10.96.0.1:53", Protocol::Tcp),
    ] {
        let socket: SocketAddr = socket.parse().unwrap();
        assert_eq!(text.parse(), Ok(Target { socket, protocol }), "{text}");
    }
    for bad in [
        "",
        "10.96.0.1",
        "10.96.0.1/TCP",
        "10.96.0.1:80",
        "10.96.0.1:0/TCP",
        "10.96.0.1:65536/TCP",
        "10.96.0.1:+80/TCP",
        "10.96.0.1:http/TCP",
        "10.96.0.1:80/ICMP",
        "10.96.0.300:80/TCP",
        "fd00::1:80/TCP",
        "[10.96.0.1]:80/TCP",
        "[fd00::1:80/TCP",
        "web.default:80/TCP",
    ] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}

#[test]
fn origins() {
    for (text, shown) in [
        ("10.244.1.7", "10.244.1.7"),
        ("10.244.1.7@cni0", "10.244.1.7@cni0"),
        ("fd00::7@veth1", "fd00::7@veth1"),
        ("[fd00::7]", "fd00::7"),
    ] {
        assert_eq!(text.parse::<Origin>().map(|origin| origin.to_string()), Ok(shown.to_owned()));
    }
    for bad in ["", "@cni0", "10.244.1.7@", "10.244.1.7:80", "pod", "[10.244.1.7]"] {
        assert!(bad.parse::<Origin>().is_err(), "{bad}");
    }
}

/// The first line of a refusal.
fn refusal(args: &[&str]) -> String {
    let start = ["sluice explain", "--from=10.0.0.1", "--to=10.96.0.1:80/TCP"];
    let args: Vec<&str> = start.iter().chain(args).copied().collect();
    run(&args).expect_err("a refusal").lines().next().unwrap_or_default().to_owned()
}

#[test]
fn what_cannot_be_obeyed_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = format!("--manifests={}", folder.path().display());
    for (args, expected) in [
        (&["--masquerade-all"][..], "--masquerade-all needs --manifests"),
        (&["--node=n1"], "--node needs --manifests"),
        (&[&manifests], "--manifests needs --node"),
        (&[&manifests, "--node="], "--manifests needs --node"),
        (&["--manifests=/nowhere", "--node=n1"], "reading folder /nowhere"),
        (&[&manifests, "--node=n1", "--from=fd00::1"], "not of one family"),
        (&[&manifests, "--node=n1", "--node-ip=x"], "\"x\" is not an IP address"),
        (&[&manifests, "--node=n1", "--service-cidr=10.96.0.0"], "is not a network"),
        (&[&manifests, "--node=n1", "--cluster-cidr=10.244.0.0"], "--cluster-cidr"),
        (&[&manifests, "--node=n1", "--detect-local-mode=BridgeInterface"], "--pod-bridge"),
        (&["--to=0.0.0.0:30080/TCP"], "no packet goes to 0.0.0.0"),
        (&["--to=[::]:30080/TCP"], "no packet goes to ::"),
        (&["service", "list"], "no subcommands"),
        (&["stray"], "unrecognized subcommand"),
    ] {
        let line = refusal(args);
        assert!(line.contains(expected), "{args:?}: {line}");
    }
}

#[test]
fn a_broken_file_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.yaml"), "kind: [").unwrap();
    let line = refusal(&[&format!("--manifests={}", folder.path().display()), "--node=n1"]);
    assert!(line.contains("a.yaml: line 1"), "{line}");
}

#[test]
fn the_json_has_five_fields_in_one_line() {
    let text = world(&[&service(""), &slice(&[HERE])]).ask("10.244.1.7 -> 10.96.0.10:80/TCP").text;
    assert_eq!(
        text,
        r#"{"verdict":"forward","backends":["10.244.1.5:8080"],"masquerade":false,"rules":["A20","A60","A40","A33"],"service":"default/web:http"}
"#
    );
}

#[test]
fn an_unnamed_port_has_no_colon() {
    let service = super::service_of("web", "", "clusterIP: 10.96.0.10, ports: [{port: 80}]", "");
    let slice = super::slice_of("web", "", "{name: '', port: 8080}", &[HERE]);
    world(&[&service, &slice]).ask("10.244.1.7 -> 10.96.0.10:80/TCP").of("default/web");
}
