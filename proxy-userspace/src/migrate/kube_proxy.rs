//! Whether a kube-proxy runs on this node: by its ports and by its process.
//!
//! Sluice has the same ports, and may have the same name. On the ports, the mode tells them apart; of
//! processes, that kube-proxy never holds an eBPF map.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

/// How long a port may take to answer: it is on this node.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer is longer than that only if it is somebody else's.
const ANSWER: u64 = 4 << 20;

/// Sluice's own answer at /proxyMode.
pub const OWN_MODE: &str = "ebpf";

/// Signs of a running kube-proxy, in words; none: there is none, as far as this process can see.
pub fn signs(proc: &Path, metrics: SocketAddr) -> Vec<String> {
    let mut signs = Vec::new();
    if let Some(mode) = proxy_mode(metrics).filter(|mode| mode != OWN_MODE) {
        signs.push(format!("port {} answers as kube-proxy in {mode} mode", metrics.port()));
    }
    let processes = processes(proc).into_iter();
    signs.extend(processes.map(|pid| format!("process {pid} is a kube-proxy of this network")));
    signs
}

/// What a proxy at this port says its mode is.
pub fn proxy_mode(metrics: SocketAddr) -> Option<String> {
    let mode = get(metrics, "/proxyMode")?;
    let is_mode = !mode.is_empty() && mode.bytes().all(|byte| byte.is_ascii_lowercase());
    is_mode.then_some(mode)
}

/// The body of a successful GET.
pub fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    // In one piece.
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n")?;
    (head.split(' ').nth(1)? == "200").then(|| body.trim().to_owned())
}

/// Processes of kube-proxy's name in this network namespace that hold no eBPF map. In a container
/// without the host's process namespace none is seen.
fn processes(proc: &Path) -> Vec<u32> {
    let Ok(own) = fs::read_link(proc.join("thread-self/ns/net")) else { return Vec::new() };
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_kube_proxy = |pid: &u32| {
        let folder = proc.join(pid.to_string());
        let name = fs::read_to_string(folder.join("comm")).unwrap_or_default();
        name.trim() == "kube-proxy"
            && fs::read_link(folder.join("ns/net")).is_ok_and(|net| net == own)
            && !holds_maps(&folder)
    };
    let mut found: Vec<u32> = pids.filter(is_kube_proxy).collect();
    found.sort_unstable();
    found
}

fn holds_maps(process: &Path) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    let mut targets = descriptors.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    targets.any(|target| target.to_string_lossy().contains("bpf-map"))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::symlink, thread};

    use super::*;

    fn serve(body: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 64];
            let read = stream.read(&mut request).expect("a request");
            assert!(request[..read].starts_with(b"GET /proxyMode "));
            write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}").expect("writing");
        });
        address
    }

    #[test]
    fn c22_a_port_tells_whose_it_is() {
        let nothing = Path::new("/nonexistent");
        let found = signs(nothing, serve("iptables"));
        assert!(
            found.len() == 1 && found[0].ends_with("as kube-proxy in iptables mode"),
            "{found:?}"
        );
        assert!(signs(nothing, serve("ebpf")).is_empty());
        assert!(signs(nothing, serve("<html>")).is_empty(), "somebody else");
    }

    #[test]
    fn c22_a_process_counts_in_its_network_and_without_maps() {
        let proc = tempfile::tempdir().expect("a folder");
        let process = |pid: &str, comm: &str, net: &str, fd: &str| {
            let folder = proc.path().join(pid);
            fs::create_dir_all(folder.join("ns")).expect("a folder");
            fs::create_dir_all(folder.join("fd")).expect("a folder");
            fs::write(folder.join("comm"), format!("{comm}\n")).expect("a file");
            symlink(net, folder.join("ns/net")).expect("a link");
            symlink(fd, folder.join("fd/3")).expect("a link");
        };
        process("thread-self", "sluice", "net:[1]", "socket:[1]");
        process("11", "kube-proxy", "net:[1]", "socket:[1]");
        process("12", "kube-proxy", "net:[2]", "socket:[1]");
        process("13", "kube-proxy", "net:[1]", "anon_inode:bpf-map");
        process("14", "nginx", "net:[1]", "socket:[1]");
        assert_eq!(processes(proc.path()), [11]);
    }
}
