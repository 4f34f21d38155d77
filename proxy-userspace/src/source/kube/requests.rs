//! Requests to the API server, for whoever counts them.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use http::{Request, Response};
use tower::{Layer, Service};

/// A request, and how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked<'a> {
    /// `GET`.
    pub method: &'a str,
    /// The server's name and port.
    pub host: &'a str,
    /// The status; none when there was no answer.
    pub code: Option<u16>,
    /// From the request to the head of the answer: a watch is answered when it begins.
    pub took: Duration,
}

/// Somebody who is told of each request; by default nobody.
#[derive(Clone, Default)]
pub struct Observer(Option<Arc<Tell>>);

type Tell = dyn Fn(Asked<'_>) + Send + Sync;

impl Observer {
    /// Stands between a client and this server: the client's own layers see no host.
    pub(super) fn of(&self, host: &str) -> Observing {
        Observing { observer: self.clone(), host: host.into() }
    }

    /// Tells this function.
    pub fn new(tell: impl Fn(Asked<'_>) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    fn tell(&self, asked: Asked<'_>) {
        if let Some(tell) = &self.0 {
            tell(asked);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observer").field(&self.0.is_some()).finish()
    }
}

/// Makes a client whose requests are told.
#[derive(Clone, Debug)]
pub(super) struct Observing {
    observer: Observer,
    host: Arc<str>,
}

impl<S> Layer<S> for Observing {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed { inner, observing: self.clone() }
    }
}

/// A client whose requests are told.
pub(super) struct Observed<S> {
    inner: S,
    observing: Observing,
}

impl<S, Sent, Got> Service<Request<Sent>> for Observed<S>
where
    S: Service<Request<Sent>, Response = Response<Got>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Sent>) -> Self::Future {
        let method = request.method().clone();
        let (Observing { observer, host }, began) = (self.observing.clone(), Instant::now());
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            let (method, took) = (method.as_str(), began.elapsed());
            observer.tell(Asked { method, host: &host, code, took });
            answer
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[tokio::test]
    async fn answers_and_failures_are_told() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = Arc::clone(&told);
        let observer = Observer::new(move |asked: Asked<'_>| {
            let line = format!("{} {} {:?}", asked.method, asked.host, asked.code);
            list.lock().unwrap().push(line);
        });
        let answer = |request: Request<&'static str>| async move {
            match *request.body() {
                "lost" => Err("no answer"),
                _ => Ok(Response::builder().status(201).body(()).unwrap()),
            }
        };
        let mut client = observer.of("api:6443").layer(tower::service_fn(answer));
        for body in ["kept", "lost"] {
            let request = Request::post("/api/v1/services").body(body).unwrap();
            assert_eq!(client.call(request).await.is_ok(), body == "kept");
        }
        assert_eq!(*told.lock().unwrap(), ["POST api:6443 Some(201)", "POST api:6443 None"]);
    }
}
