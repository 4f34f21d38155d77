//! Session affinity (A70, A71, C16). Where a choice is random, sixteen clients make it: that all of
//! them return to the same of eight backends by chance will not be seen.

use std::{net::SocketAddr, thread::sleep, time::Duration};

use sluice_common::{net::proto, reason::Reason};
use testbed::packet::{
    Hook::{Egress, Ingress},
    Lab, Service,
};

use super::{FAMILIES, Family, Through, everywhere, first, later};

/// The timeout, in seconds.
const TIMEOUT: u32 = 10;
/// Almost as long, and together with it longer.
const ALMOST: Duration = Duration::from_secs(9);

fn backends(f: Family) -> Vec<String> {
    (1..=8).map(|i| format!("{}:{}", f.pod, 8080 + i)).collect()
}

/// A service with eight backends at `vip:port`.
fn service(f: Family, proto: u8, port: u16) -> Service {
    let backends = backends(f);
    let backends: Vec<&str> = backends.iter().map(String::as_str).collect();
    Service::new(&format!("{}:{port}", f.vip), proto).affinity(TIMEOUT).backends(&backends)
}

/// Where a new connection of `client` from `port` ends.
fn dial(lab: &mut Lab, proto: u8, client: &str, port: u16, to: &str) -> SocketAddr {
    let sent = first(proto, &format!("{client}:{port} -> {to}"));
    lab.through(Ingress, &sent, Reason::NewFlow).dst
}

/// Where sixteen clients' connections from `port` to `vip:80` end.
fn crowd(lab: &mut Lab, f: Family, proto: u8, port: u16) -> Vec<SocketAddr> {
    let to = format!("{}:80", f.vip);
    let client = |i: u16| f.outside.replace('5', &i.to_string());
    (10..26).map(|i| dial(lab, proto, &client(i), port, &to)).collect()
}

#[test]
fn a70_one_backend_by_whichever_frontend() {
    everywhere(|lab, f, proto| {
        let external = format!("{}:8000", f.vip2);
        lab.put(&service(f, proto, 80).node_port(30080, false).external(&external, false));
        let vip = format!("{}:80", f.vip);
        let node_port = format!("{}:30080", f.node);
        for client in [f.pod2, f.node, f.outside] {
            let home = dial(lab, proto, client, 40000, &vip);
            for port in 40001..40008 {
                assert_eq!(dial(lab, proto, client, port, &vip), home);
                assert_eq!(dial(lab, proto, client, port, &node_port), home);
                assert_eq!(dial(lab, proto, client, port, &external), home);
            }
        }
    });
}

#[test]
fn a70_clients_and_ports_are_independent() {
    everywhere(|lab, f, proto| {
        lab.put(&service(f, proto, 80));
        lab.put(&service(f, proto, 443));
        let homes = crowd(lab, f, proto, 40000);
        assert!(homes.iter().any(|home| *home != homes[0]), "one client's is not all clients'");
        let client = |i: u16| f.outside.replace('5', &i.to_string());
        let to = format!("{}:443", f.vip);
        let others: Vec<_> = (10..26).map(|i| dial(lab, proto, &client(i), 40000, &to)).collect();
        assert_ne!(homes, others);
        assert_eq!(crowd(lab, f, proto, 40001), homes);
    });
}

#[test]
fn a71_the_choice_expires() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&service(f, proto::TCP, 80).affinity(1));
        let homes = crowd(&mut lab, f, proto::TCP, 40000);
        sleep(Duration::from_millis(1050));
        assert_ne!(crowd(&mut lab, f, proto::TCP, 40001), homes);
    }
}

#[test]
fn a71_every_new_connection_renews_the_choice() {
    everywhere(|lab, f, proto| {
        lab.put(&service(f, proto, 80));
        let homes = crowd(lab, f, proto, 40000);
        for port in 40001..40004 {
            lab.stay_away(ALMOST);
            assert_eq!(crowd(lab, f, proto, port), homes);
        }
        lab.stay_away(ALMOST + ALMOST);
        assert_ne!(crowd(lab, f, proto, 40004), homes);
    });
}

#[test]
fn a71_packets_of_a_known_flow_renew_nothing() {
    everywhere(|lab, f, proto| {
        lab.put(&service(f, proto, 80));
        let homes = crowd(lab, f, proto, 40000);
        lab.stay_away(ALMOST);
        for i in 10..26 {
            let client = f.outside.replace('5', &i.to_string());
            let packet = later(proto, &format!("{client}:40000 -> {}:80", f.vip));
            lab.through(Ingress, &packet, Reason::Forward);
        }
        lab.stay_away(ALMOST);
        assert_ne!(crowd(lab, f, proto, 40001), homes);
    });
}

#[test]
fn c16_no_client_stays_with_a_backend_that_is_not_offered() {
    everywhere(|lab, f, proto| {
        let id = lab.put(&service(f, proto, 80));
        let home = dial(lab, proto, f.pod2, 40000, &format!("{}:80", f.vip));
        // It terminates, and is no longer in the list: a new connection goes elsewhere, for good.
        let left: Vec<String> =
            backends(f).into_iter().filter(|b| *b != home.to_string()).collect();
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        lab.replace(id, &service(f, proto, 80).backends(&left));
        let next = dial(lab, proto, f.pod2, 40001, &format!("{}:80", f.vip));
        assert_ne!(next, home);
        for port in 40002..40010 {
            assert_eq!(dial(lab, proto, f.pod2, port, &format!("{}:80", f.vip)), next);
        }
        // What goes on stays where it is (A26, A73).
        let ends = format!("{}:40000 -> {}:80", f.pod2, f.vip);
        assert_eq!(lab.through(Ingress, &later(proto, &ends), Reason::Forward).dst, home);
    });
}

#[test]
fn c16_the_next_user_of_an_id_does_not_inherit_its_clients() {
    everywhere(|lab, f, proto| {
        let id = lab.put(&service(f, proto, 80));
        let homes = crowd(lab, f, proto, 40000);
        assert_eq!(crowd(lab, f, proto, 40001), homes);
        lab.recycle(id);
        assert_ne!(crowd(lab, f, proto, 40002), homes);
    });
}

#[test]
fn a44_a_local_frontend_knows_local_backends_only() {
    everywhere(|lab, f, proto| {
        let here = format!("{}:8081", f.pod);
        lab.put(&service(f, proto, 80).local(&[&here]).node_port(30080, true));
        crowd(lab, f, proto, 40000);
        for i in 10..26 {
            let client = f.outside.replace('5', &i.to_string());
            let node_port = format!("{}:30080", f.node);
            assert_eq!(dial(lab, proto, &client, 40001, &node_port).to_string(), here);
            // That one is in the cluster's list as well, so there the client keeps it.
            let vip = format!("{}:80", f.vip);
            assert_eq!(dial(lab, proto, &client, 40002, &vip).to_string(), here);
        }
        // A42: a pod may reach all, and keeps its own.
        let home = dial(lab, proto, f.pod2, 40000, &format!("{}:80", f.vip));
        assert_eq!(dial(lab, proto, f.pod2, 40001, &format!("{}:30080", f.node)), home);
    });
}

#[test]
fn a73_datagrams_that_move_take_the_affinity_along() {
    for f in FAMILIES {
        let mut lab = Lab::new();
        lab.put(&service(f, proto::UDP, 80));
        let vip = format!("{}:80", f.vip);
        let sent = first(proto::UDP, &format!("{}:40000 -> {vip}", f.pod2));
        let home = lab.through(Ingress, &sent, Reason::NewFlow).dst;
        lab.retire(&home.to_string(), proto::UDP);
        let left: Vec<String> =
            backends(f).into_iter().filter(|b| *b != home.to_string()).collect();
        let left: Vec<&str> = left.iter().map(String::as_str).collect();
        lab.put(&service(f, proto::UDP, 80).backends(&left));
        let moved = lab.through(Ingress, &sent, Reason::Rechosen);
        assert_ne!(moved.dst, home);
        for port in 40001..40008 {
            assert_eq!(dial(&mut lab, proto::UDP, f.pod2, port, &vip), moved.dst);
        }
        let back = lab.through(Egress, &moved.reply(), Reason::Reply);
        assert_eq!((back.src, back.dst), (sent.dst, sent.src));
    }
}
