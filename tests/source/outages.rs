//! API servers that go away, forget, refuse and lie.

use std::fmt::Write as _;

use sluice::source::kube::Connection;
use testbed::apiserver::{ApiServer, kubeconfig};

use crate::world::{World, service};

async fn started(server: &ApiServer) -> World {
    server.apply(&service("web", "10.96.0.1")).unwrap();
    server.apply(&service("dns", "10.96.0.10")).unwrap();
    let mut world = World::kube(Connection::new(None, Some(&server.url())));
    world.until("the list", |it| it.listed() && it.has("shop/dns")).await;
    world
}

#[tokio::test]
async fn a_lost_watch_is_resumed_without_a_list() {
    let server = ApiServer::start().unwrap();
    let mut world = started(&server).await;
    server.drop_watches();
    server.delete("Service", "shop", "web");
    world.until("the deletion", |it| !it.has("shop/web")).await;
    assert_eq!(world.replaced, 1);
}

async fn expired(by_status: bool) {
    let mut server = ApiServer::start().unwrap();
    server.answer_gone_by_status(by_status);
    let mut world = started(&server).await;
    server.stop();
    server.delete("Service", "shop", "web");
    server.compact();
    server.restart().unwrap();
    world.until("the new list", |it| !it.has("shop/web")).await;
    assert!(world.has("shop/dns"));
    assert_eq!(world.replaced, 2);
    let lists = server.requests();
    let mut lists = lists
        .iter()
        .filter(|it| it.starts_with("GET /api/v1/services") && !it.contains("watch=true"));
    assert!(lists.next().unwrap().contains("resourceVersion=0"));
    assert!(lists.all(|it| !it.contains("resourceVersion=0")), "back in time");
}

#[tokio::test]
async fn a90_an_expired_event_lists_again_and_deletes_what_vanished() {
    expired(false).await;
}

#[tokio::test]
async fn a90_an_expired_status_lists_again_and_deletes_what_vanished() {
    expired(true).await;
}

#[tokio::test]
async fn a_restarted_server_is_found_again() {
    let mut server = ApiServer::start().unwrap();
    let mut world = started(&server).await;
    server.stop();
    world.quiet(300).await;
    server.restart().unwrap();
    server.apply(&service("new", "10.96.0.2")).unwrap();
    world.until("the new Service", |it| it.has("shop/new")).await;
    assert!(world.has("shop/web"));
    assert_eq!(world.replaced, 1);
}

#[tokio::test]
async fn what_a_server_tells_again_is_not_believed() {
    let server = ApiServer::start().unwrap();
    let mut world = started(&server).await;
    server.delete("Service", "shop", "web");
    server.apply(&service("new", "10.96.0.2")).unwrap();
    world.until("the changes", |it| it.has("shop/new")).await;
    // The last event alone does no harm.
    server.replay(1);
    server.drop_watches();
    server.apply(&service("newer", "10.96.0.3")).unwrap();
    world.until("a change", |it| it.has("shop/newer")).await;
    assert_eq!(world.replaced, 1);
    // What goes back further would have `web` again for a while.
    server.replay(5);
    server.drop_watches();
    world
        .until("the second list", |it| {
            assert!(!it.has("shop/web"), "C40");
            it.replaced == 2
        })
        .await;
    assert_eq!(world.names(), ["shop/dns", "shop/new", "shop/newer"]);
    server.delete("Service", "shop", "dns");
    world.until("the deletion", |it| !it.has("shop/dns")).await;
}

#[tokio::test]
async fn errors_and_slowness_are_waited_out() {
    let server = ApiServer::start().unwrap();
    server.apply(&service("web", "10.96.0.1")).unwrap();
    server.fail_next(9, 503);
    server.delay(50);
    let mut world = World::kube(Connection::new(None, Some(&server.url())));
    world.until("the list", |it| it.has("shop/web")).await;
}

#[tokio::test]
async fn a90_nothing_half_listed_is_handed_over() {
    let mut server = ApiServer::start().unwrap();
    let mut text = String::new();
    for index in 0..600 {
        let _written = write!(
            text,
            "---\n{}",
            service(&format!("s{index}"), &format!("10.96.{}.{}", index / 200, index % 200 + 1))
        );
    }
    server.apply(&text).unwrap();
    let mut world = World::kube(Connection::new(None, Some(&server.url())));
    world.until("the list", World::listed).await;
    assert_eq!(world.names().len(), 600);
    server.stop();
    server.delete("Service", "shop", "s0");
    server.compact();
    // The second list comes in pages.
    server.fail_next_pages(2);
    server.restart().unwrap();
    world.until("the second list", |it| it.replaced == 2).await;
    assert_eq!(world.names().len(), 599);
    assert!(server.requests().iter().any(|it| it.contains("continue=") && it.ends_with(" 500")));
}

#[tokio::test]
async fn a_rotated_token_is_read_anew() {
    let server = ApiServer::start().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    server.rotate_token("one");
    server.apply(&service("web", "10.96.0.1")).unwrap();
    let file = kubeconfig(dir.path(), &server.url(), Some(&token)).unwrap();
    let mut world = World::kube(Connection::new(Some(&file), None));
    world.until("the list", World::listed).await;
    server.rotate_token("two");
    server.drop_watches();
    server.apply(&service("new", "10.96.0.2")).unwrap();
    world.quiet(300).await;
    std::fs::write(&token, "two").unwrap();
    world.until("the new Service", |it| it.has("shop/new")).await;
}
