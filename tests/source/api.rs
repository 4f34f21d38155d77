//! Lists, changes, selectors, problems.

use sluice::source::kube::Connection;
use testbed::apiserver::ApiServer;

use crate::world::{World, service, slice};

fn follow(server: &ApiServer) -> World {
    World::kube(Connection::new(None, Some(&server.url())))
}

#[tokio::test]
async fn a90_a_list_then_changes() {
    let server = ApiServer::start().unwrap();
    server.apply(&service("web", "10.96.0.1")).unwrap();
    let mut world = follow(&server);
    world.until("the list", |it| it.has("shop/web") && it.slices.is_some()).await;
    server.apply(&service("dns", "10.96.0.10")).unwrap();
    server.apply(&slice("web-1", "10.0.0.1")).unwrap();
    world
        .until("the additions", |it| {
            it.has("shop/dns") && it.slices.as_ref().is_some_and(|all| all.len() == 1)
        })
        .await;
    server.delete("Service", "shop", "web");
    world.until("the deletion", |it| !it.has("shop/web")).await;
    assert_eq!(world.replaced, 1);
    world.end().await;
}

#[tokio::test]
async fn a1_another_proxys_label_is_a_deletion() {
    let server = ApiServer::start().unwrap();
    server.apply(&service("web", "10.96.0.1")).unwrap();
    let mut world = follow(&server);
    world.until("the list", |it| it.has("shop/web")).await;
    let labelled = service("web", "10.96.0.1").replace(
        "namespace: shop",
        "namespace: shop, labels: {service.kubernetes.io/service-proxy-name: x}",
    );
    server.apply(&labelled).unwrap();
    world.until("the deletion", |it| !it.has("shop/web")).await;
    let requests = server.requests().join("\n");
    assert!(requests.contains("labelSelector=%21service.kubernetes.io%2Fservice-proxy-name"));
    assert!(requests.contains("labelSelector=%21service.kubernetes.io%2Fheadless"));
    assert!(requests.contains("fieldSelector=metadata.name%3Dnode1"));
}

#[tokio::test]
async fn a10_problems_come_and_go() {
    let server = ApiServer::start().unwrap();
    server.apply(&slice("web-1", "bogus")).unwrap();
    let mut world = follow(&server);
    world.until("the problem", |it| it.problems.len() == 2).await;
    server.apply(&slice("web-1", "10.0.0.1")).unwrap();
    world.until("the repair", |it| it.problems.len() == 1).await;
    server.apply("{apiVersion: v1, kind: Node, metadata: {name: node1}}").unwrap();
    world.until("the Node", |it| it.problems.is_empty() && it.node.is_some()).await;
}

#[tokio::test]
async fn a18_no_service_cidrs_is_not_fatal() {
    let server = ApiServer::start().unwrap();
    server.forbid("servicecidrs");
    let mut world = follow(&server);
    world.until("all lists", |it| it.services.is_some() && it.cidrs.is_some()).await;
    assert_eq!(world.cidrs, Some(vec![]));
}

#[tokio::test]
async fn five_thousand_slice_events_converge() {
    let server = ApiServer::start().unwrap();
    let mut world = follow(&server);
    world.until("the list", |it| it.slices.is_some()).await;
    for round in 0..5 {
        for index in 0..1000 {
            let address = format!("10.{round}.{}.{}", index / 250, index % 250 + 1);
            let text = slice(&format!("web-{index}"), &address);
            server.apply_value(serde_saphyr::from_str(&text).unwrap()).unwrap();
        }
    }
    world
        .until("all slices", |it| {
            let slices = it.slices.as_ref().unwrap();
            slices.len() == 1000
                && slices
                    .values()
                    .all(|it| it.endpoints[0].address.to_string().starts_with("10.4."))
        })
        .await;
}
