//! The Kubernetes source end to end: outages of the API server, and bursts of events.

use std::time::{Duration, Instant};

use testbed::{
    address::Family,
    wire::{Ask, Transport},
};

use crate::{
    cases::{Cases, answered, within},
    kube::Kube,
    state::holds,
    streams::Streams,
    world::{on_node, vip},
};

/// How long a controller may take to find its API server again, or to start, on a loaded machine: its
/// longest wait is 8 s, and the kernel verifies its programs for some seconds of CPU time.
const BACK: Duration = Duration::from_secs(120);

/// How an outage goes.
#[derive(Clone, Copy, Debug)]
enum Outage {
    /// The server is back with its history.
    Short,
    /// Its history is gone: 410 to whoever resumes.
    Compacted,
    /// The controllers end and start again meanwhile (A90).
    ControllersToo,
}

#[test]
fn api_server_outages() {
    let mut kube = Kube::new();
    kube.serve(1, &[1, 3]);
    kube.serve(2, &[2]);
    kube.start();
    kube.wait_ready();
    works(&kube);
    for (outage, gone, new) in
        [(Outage::Short, 2, 3), (Outage::Compacted, 3, 4), (Outage::ControllersToo, 4, 5)]
    {
        let (before, after): (&[usize], &[usize]) =
            if gone == 3 { (&[1, 4], &[1, 3]) } else { (&[1, 3], &[1, 4]) };
        holds(&kube.cluster, &[(1, before), (gone, &[2])]).unwrap();
        kube.server.stop();
        kube.delete(gone);
        kube.serve(1, after);
        kube.serve(new, &[2]);
        match outage {
            Outage::Short => {}
            Outage::Compacted => kube.server.compact(),
            Outage::ControllersToo => {
                kube.sluices.iter_mut().for_each(|sluice| sluice.stop().unwrap());
                kube.start();
            }
        }
        let streams = Streams::start(&kube.cluster, 1);
        std::thread::sleep(Duration::from_millis(500));
        holds(&kube.cluster, &[(1, before), (gone, &[2])])
            .expect("nothing changes while nobody answers");
        answered(Ask::new(Transport::Tcp, vip(gone, Family::V4)), pod(&kube), "pod2").unwrap();
        let answers = streams.unharmed();
        let server = Instant::now();
        kube.restart_server();
        let streams = Streams::start(&kube.cluster, 1);
        within(BACK, || holds(&kube.cluster, &[(1, after), (new, &[2])])).expect("C40");
        let took = server.elapsed();
        let ask = Ask::new(Transport::Tcp, vip(new, Family::V6));
        answered(ask, pod(&kube), "pod2").unwrap();
        let answers = answers + streams.unharmed();
        println!("{outage:?}: true again {took:?} after the server's return, {answers} answers");
    }
    rotate_token(&kube);
}

fn pod(kube: &Kube) -> &testbed::Pod {
    kube.cluster.pod(2).unwrap()
}

/// Everybody reaches Service 2.
fn works(kube: &Kube) {
    let mut cases = Cases::new("from an API server");
    let (pod, host, client) = (pod(kube), kube.cluster.node(2).unwrap(), kube.cluster.client());
    cases.each("ClusterIP", |family, transport| {
        answered(Ask::new(transport, vip(2, family)), pod, "pod2")?;
        answered(Ask::new(transport, vip(2, family)), host, "pod2").map(drop)
    });
    cases.each("NodePort", |family, transport| {
        answered(Ask::new(transport, on_node(2, 2, family)), client, "pod2").map(drop)
    });
    cases.finish();
}

/// The token changes, and the new one comes late; Service 1 moves meanwhile.
fn rotate_token(kube: &Kube) {
    kube.server.rotate_token("two");
    kube.server.drop_watches();
    kube.serve(1, &[3]);
    let streams = Streams::start(&kube.cluster, 1);
    std::thread::sleep(Duration::from_millis(300));
    holds(&kube.cluster, &[(1, &[1, 4]), (5, &[2])]).expect("nobody reads with the old token");
    kube.write_token("two");
    let began = Instant::now();
    within(BACK, || holds(&kube.cluster, &[(1, &[3]), (5, &[2])])).unwrap();
    println!("a new token: true again after {:?}", began.elapsed());
    streams.unharmed();
}

/// Services of the burst, pairs of slices of each, changes of each pair: 5,000 events.
const BURST: (u8, u8, u8) = (25, 10, 10);

#[test]
fn a_burst_of_events_ends_in_the_right_state() {
    let (services, parts, rounds) = BURST;
    let mut kube = Kube::new();
    for number in 1..=services {
        kube.serve(number, &[1]);
    }
    kube.start();
    kube.wait_ready();
    let streams = Streams::start(&kube.cluster, 1);
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    for round in 1..=rounds {
        for number in 1..=services {
            for part in 0..parts {
                let pods =
                    if round == rounds { last(number, part) } else { some(number, part, round) };
                kube.endpoints(number, part, &pods);
            }
        }
    }
    let applied = began.elapsed();
    let expected: Vec<_> = (1..=services).map(|number| (number, end(number, parts))).collect();
    let expected: Vec<_> = expected.iter().map(|(number, pods)| (*number, &pods[..])).collect();
    within(BACK, || holds(&kube.cluster, &expected)).unwrap();
    let took = began.elapsed();
    let answers = streams.unharmed();
    let events = u32::from(services) * u32::from(parts) * u32::from(rounds) * 2;
    println!("{events} events, applied in {applied:?}, true after {took:?}, {answers} answers");
    for number in 1..=services {
        let reply = pod(&kube).tcp(vip(number, Family::V6)).unwrap();
        let pods: Vec<String> = end(number, parts).iter().map(|pod| format!("pod{pod}")).collect();
        assert!(pods.contains(&reply.who), "s{number}: {} answers, not {pods:?}", reply.who);
    }
}

/// Some pods, at least one: a slice on its way.
fn some(number: u8, part: u8, round: u8) -> Vec<usize> {
    let bits = 1 + (u32::from(number) * 7 + u32::from(part) * 3 + u32::from(round) * 5) % 15;
    (1..=4).filter(|pod| bits & 1 << (pod - 1) != 0).collect()
}

/// A slice's last pod: two of the four for each Service, so that one late slice would show.
fn last(number: u8, part: u8) -> Vec<usize> {
    vec![1 + usize::from(number + part % 2) % 4]
}

/// A Service's pods in the end.
fn end(number: u8, parts: u8) -> Vec<usize> {
    let mut pods: Vec<usize> = (0..parts).flat_map(|part| last(number, part)).collect();
    pods.sort_unstable();
    pods.dedup();
    pods
}
