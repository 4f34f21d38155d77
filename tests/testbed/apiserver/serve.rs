//! Requests to answers.

use std::{convert::Infallible, io, net::TcpListener, sync::Arc};

use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::CONTENT_TYPE,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch::Receiver};

use super::{
    Shared, answer,
    query::{Params, Target},
    store::Kind,
    watch,
};

/// A whole answer, or a watch.
pub(super) type Body = BoxBody<Bytes, io::Error>;

/// Accepts connections until told to stop.
pub(super) async fn until(
    stopped: oneshot::Receiver<()>,
    listener: TcpListener,
    shared: Arc<Shared>,
) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return eprintln!("the API server cannot listen: {error}"),
    };
    tokio::select! {
        _ = stopped => {}
        () = accept(&listener, &shared) => {}
    }
}

async fn accept(listener: &tokio::net::TcpListener, shared: &Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(handle(request, shared).await) }
            });
            // A client that goes away in the middle is its own affair.
            let _ended =
                http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn handle(request: Request<Incoming>, shared: Arc<Shared>) -> Response<Body> {
    // Before the token is looked at: who passes under the old one is dropped with the others.
    let dropped = shared.dropped.subscribe();
    let line = format!("{} {}", request.method(), request.uri());
    let delay = shared.manners().delay;
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    let response = match refuse(&request, &shared) {
        Some(status) => whole(&status),
        None => answer(request, &shared, dropped).await,
    };
    shared.manners().requests.push(format!("{line} {}", response.status().as_u16()));
    response
}

/// Tokens, permissions, and the failures a test ordered.
fn refuse<B>(request: &Request<B>, shared: &Shared) -> Option<Value> {
    let mut manners = shared.manners();
    let header = request.headers().get("authorization").and_then(|value| value.to_str().ok());
    if let Some(token) = &manners.token
        && header.and_then(|value| value.strip_prefix("Bearer ")) != Some(token)
    {
        return Some(answer::unauthorized());
    }
    if manners.fail.0 > 0 {
        manners.fail.0 -= 1;
        return Some(answer::ordered(manners.fail.1));
    }
    if manners.fail_continued > 0
        && request.uri().query().is_some_and(|it| it.contains("continue="))
    {
        manners.fail_continued -= 1;
        return Some(answer::ordered(500));
    }
    let target = Target::parse(request.uri().path())?;
    let forbidden = manners.forbidden.contains(&target.resource);
    forbidden.then(|| answer::forbidden(&target.resource, &target.group))
}

async fn answer(
    request: Request<Incoming>,
    shared: &Arc<Shared>,
    dropped: Receiver<u64>,
) -> Response<Body> {
    let Some(target) = Target::parse(request.uri().path()) else {
        return whole(&answer::no_resource());
    };
    let Some(kind) = Kind::by_resource(&target.group, &target.resource) else {
        return whole(&answer::no_resource());
    };
    if request.method() == Method::POST {
        return create(kind, request, shared).await;
    }
    if let Some(name) = &target.name {
        let namespace = target.namespace.as_deref().unwrap_or_default();
        let found = shared.store().get(kind, namespace, name).cloned();
        return whole(&found.unwrap_or_else(|| answer::no_object(kind.resource, name)));
    }
    let params = Params::parse(request.uri().query().unwrap_or_default());
    if params.is_set("watch") {
        return watch::respond(kind, params, Arc::clone(shared), dropped);
    }
    whole(&list(kind, target.namespace.as_deref(), &params, shared))
}

async fn create(
    kind: &'static Kind,
    request: Request<Incoming>,
    shared: &Shared,
) -> Response<Body> {
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let object: Value =
        body.ok().and_then(|it| serde_json::from_slice(&it).ok()).unwrap_or_default();
    if !object.is_object() {
        return whole(&answer::ordered(400));
    }
    let mut store = shared.store();
    if store.contains(kind, &object) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        return whole(&answer::exists(kind.resource, name));
    }
    let created = store.put(kind, object);
    drop(store);
    shared.changed.send_modify(|count| *count += 1);
    respond(StatusCode::CREATED, &created)
}

fn list(kind: &Kind, namespace: Option<&str>, params: &Params, shared: &Shared) -> Value {
    let store = shared.store();
    let mut after = 0;
    let mut version = store.version;
    if let Some((then, offset)) = params.get("continue").and_then(|token| token.split_once('.')) {
        version = then.parse().unwrap_or(0);
        after = offset.parse().unwrap_or(0);
        // Unlike a real server we keep no snapshots: a page of a changed world is expired.
        if version != store.version {
            return answer::expired(version, store.version);
        }
    }
    let mut page = store.list(kind, namespace, params, after);
    for fields in page.items.iter_mut().filter_map(Value::as_object_mut) {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    let mut body = json!({
        "kind": format!("{}List", kind.name), "apiVersion": kind.api_version(),
        "metadata": {"resourceVersion": version.to_string()}, "items": page.items,
    });
    if let Some(next) = page.next {
        body["metadata"]["continue"] = next.into();
        // With selectors a real server cannot know how many are left.
        if params.get("labelSelector").is_none() && params.get("fieldSelector").is_none() {
            body["metadata"]["remainingItemCount"] = page.remaining.into();
        }
    }
    body
}

/// A whole body; a Status tells its own code.
pub(super) fn whole(body: &Value) -> Response<Body> {
    let failure = body["kind"] == "Status";
    let code = body["code"].as_u64().filter(|_| failure).unwrap_or(200);
    let code = u16::try_from(code).unwrap_or(500);
    respond(StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), body)
}

fn respond(status: StatusCode, body: &Value) -> Response<Body> {
    let bytes = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(bytes.boxed());
    *response.status_mut() = status;
    json_type(&mut response);
    response
}

pub(super) fn json_type(response: &mut Response<Body>) {
    let value = hyper::header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, value);
}
