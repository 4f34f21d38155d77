//! A folder that is edited while it is followed.

use std::fs;

use sluice::model::problem::Subject;

use crate::world::{World, service, slice};

#[tokio::test]
async fn files_are_followed_live() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("web.yaml"), service("web", "10.96.0.1")).unwrap();
    let mut world = World::folder(dir.path().to_owned());
    world.until("the start", |it| it.has("shop/web") && it.cidrs.is_some()).await;

    fs::write(
        path("more.yaml"),
        format!("{}---\n{}", service("dns", "10.96.0.10"), slice("w", "10.0.0.1")),
    )
    .unwrap();
    world
        .until("the addition", |it| it.has("shop/dns") && !it.slices.as_ref().unwrap().is_empty())
        .await;

    fs::rename(path("more.yaml"), path("other.yml")).unwrap();
    world.quiet(300).await;

    fs::write(path("web.yaml"), service("changed", "10.96.0.1")).unwrap();
    world.until("the change", |it| it.names() == ["shop/changed", "shop/dns"]).await;

    fs::remove_file(path("other.yml")).unwrap();
    world
        .until("the deletion", |it| {
            it.names() == ["shop/changed"] && it.slices.as_ref().unwrap().is_empty()
        })
        .await;
    assert_eq!(world.replaced, 1);
    world.end().await;
}

#[tokio::test]
async fn a_broken_file_keeps_its_last_good_content() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.yaml");
    fs::write(&file, service("web", "10.96.0.1")).unwrap();
    let mut world = World::folder(dir.path().to_owned());
    world.until("the start", |it| it.has("shop/web")).await;

    fs::write(&file, "apiVersion: v1\nkind: Service\nmetadata: {name: \n").unwrap();
    world.until("the problem", |it| !it.problems.is_empty()).await;
    let subject = Subject::File(file.display().to_string());
    assert!(world.problems[&subject][0].text.starts_with("line "), "{:?}", world.problems);
    assert!(world.has("shop/web"));

    fs::write(&file, service("fixed", "10.96.0.1")).unwrap();
    world.until("the repair", |it| it.problems.is_empty() && it.has("shop/fixed")).await;
    assert!(!world.has("shop/web"));

    fs::write(&file, "{").unwrap();
    world.until("the problem", |it| !it.problems.is_empty()).await;
    fs::remove_file(&file).unwrap();
    world.until("the deletion", |it| it.problems.is_empty() && it.names().is_empty()).await;
}

#[tokio::test]
async fn the_first_of_two_files_wins() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("b.yaml"), service("web", "10.96.0.2")).unwrap();
    fs::write(dir.path().join("a.yaml"), service("web", "10.96.0.1")).unwrap();
    let mut world = World::folder(dir.path().to_owned());
    let address = |it: &World| {
        it.services
            .iter()
            .flatten()
            .map(|(_, spec)| spec.cluster_ips[0].to_string())
            .collect::<String>()
    };
    world.until("the start", |it| it.problems.len() == 1).await;
    assert_eq!(address(&world), "10.96.0.1");
    fs::remove_file(dir.path().join("a.yaml")).unwrap();
    world.until("the other", |it| it.problems.is_empty() && address(it) == "10.96.0.2").await;
}

#[tokio::test]
async fn a_folder_that_comes_late_is_found() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("late");
    let mut world = World::folder(dir.clone());
    world.until("the problem", |it| it.problems.len() == 1).await;
    assert!(world.services.is_none(), "A90: nothing is told of a folder that was never read");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("web.json"), r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"shop"},"spec":{"clusterIP":"10.96.0.1"}}"#).unwrap();
    world.until("the start", |it| it.problems.is_empty() && it.has("shop/web")).await;
}
