//! Listening and serving.

use std::{
    convert::Infallible,
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{Method, Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

use super::Reply;

/// Answers a path. It runs on a worker of the runtime, so it must not wait.
pub type Handler = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// Connections at once; more wait in the kernel's queue, so that a flood costs no memory.
const CONNECTIONS: usize = 256;
/// How long a client may take for a request, and a connection may be idle.
const PATIENCE: Duration = Duration::from_secs(75);
/// Pending connections that the kernel keeps.
const BACKLOG: i32 = 128;
/// Wait after a failed accept, which is usually a want of file descriptors.
const BREATHER: Duration = Duration::from_millis(100);

/// Listens at an address; at an unspecified one, of either family, on both, as Go does.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    if address.ip().is_unspecified() {
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        if let Ok(listener) = bind(both, false) {
            return Ok(listener);
        }
        // Without IPv6 in the kernel there is IPv4 alone; a port in use fails again.
    }
    bind(address, true)
}

/// Listens at an address of one family only.
pub fn listen_on_family(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address, true)
}

fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Serves until dropped; open connections end with it.
pub async fn serve(listener: TcpListener, handler: Handler) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS {
            connections.join_next().await;
        }
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, Arc::clone(&handler)));
                }
                Err(_) => sleep(BREATHER).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, handler: Handler) {
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = match *request.method() {
            Method::GET | Method::HEAD => handler(request.uri().path()),
            _ => Reply { status: 405, ..Reply::text("Method Not Allowed\n") },
        };
        std::future::ready(Ok::<_, Infallible>(reply.into_response()))
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // A client that goes away in the middle is its own affair.
    let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Asks a server on loopback; the answer's head and body.
    pub(crate) async fn get(address: SocketAddr, path: &str) -> (String, String) {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_lowercase(), body.to_owned())
    }

    /// A server on loopback for as long as the test runs.
    pub(crate) fn start(handler: Handler) -> SocketAddr {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, handler));
        address
    }

    #[tokio::test]
    async fn answers_and_refuses() {
        let echo: Handler = Arc::new(|path| Reply::json(path != "/bad", path));
        let address = start(echo);
        let (head, body) = get(address, "/a?b=c").await;
        assert!(head.starts_with("http/1.1 200"), "{head}");
        assert!(head.contains("content-type: application/json"), "{head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
        assert_eq!(body, "/a");
        assert!(get(address, "/bad").await.0.starts_with("http/1.1 503"));
        assert!(listen(address).is_err(), "the port is taken");
    }

    #[tokio::test]
    async fn an_unspecified_address_serves_both_families() {
        let listener = listen("0.0.0.0:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(serve(listener, Arc::new(|_| Reply::text("ok"))));
        assert_eq!(get(SocketAddr::from(([127, 0, 0, 1], port)), "/").await.1, "ok");
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        if TcpStream::connect(v6).await.is_ok() {
            assert_eq!(get(v6, "/").await.1, "ok");
        }
    }
}
