//! Sysctls of connection tracking (A76), and the process's own oom_score_adj (A98).
//!
//! The datapath needs none of them. Other traffic of the node does: its operators rely on
//! kube-proxy to size connection tracking for it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::config::{duration::GoDuration, file::Conntrack};

/// No more than this by processors alone.
const MAX: u64 = 1_048_576;

/// Sets what the configuration asks for, below `root`: `/`, or a test's folder. Every setting is
/// tried; the error names those that failed.
pub fn apply(root: &Path, conntrack: &Conntrack) -> anyhow::Result<()> {
    let failures: Vec<String> = [size(root, conntrack)]
        .into_iter()
        .chain(timeouts(root, conntrack))
        .filter_map(Result::err)
        .collect();
    match failures.is_empty() {
        true => Ok(()),
        false => anyhow::bail!(
            "setting sysctls failed: {}; set them on the host, or give 0 to leave them",
            failures.join(", ")
        ),
    }
}

/// Sets this process's oom_score_adj.
pub fn set_oom_score(root: &Path, score: i32) -> Result<(), String> {
    write(&root.join("proc/self/oom_score_adj"), &score.to_string())
}

/// nf_conntrack_max by the processors, and as many hash buckets as that needs.
fn size(root: &Path, conntrack: &Conntrack) -> Result<(), String> {
    let per_core = u64::try_from(conntrack.max_per_core.unwrap_or(0)).unwrap_or(0);
    if per_core == 0 {
        return Ok(());
    }
    let least = u64::try_from(conntrack.min.unwrap_or(0)).unwrap_or(0);
    let max = (per_core * cores()).min(MAX).max(least);
    set(root, "nf_conntrack_max", max)?;
    let buckets = root.join("sys/module/nf_conntrack/parameters/hashsize");
    // A kernel with connection tracking built in has the same file.
    match read(&buckets) {
        Ok(now) if now.parse::<u64>().is_ok_and(|now| now >= max / 4) => Ok(()),
        Ok(_) | Err(_) => write(&buckets, &(max / 4).to_string()),
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

fn timeouts(root: &Path, conntrack: &Conntrack) -> [Result<(), String>; 5] {
    let seconds = |name, duration: Option<GoDuration>| match duration {
        Some(duration) if !duration.get().is_zero() => set(root, name, duration.get().as_secs()),
        Some(_) | None => Ok(()),
    };
    let liberal = match conntrack.tcp_be_liberal {
        true => set(root, "nf_conntrack_tcp_be_liberal", 1),
        false => Ok(()),
    };
    [
        seconds("nf_conntrack_tcp_timeout_established", conntrack.tcp_established_timeout),
        seconds("nf_conntrack_tcp_timeout_close_wait", conntrack.tcp_close_wait_timeout),
        liberal,
        seconds("nf_conntrack_udp_timeout", Some(conntrack.udp_timeout)),
        seconds("nf_conntrack_udp_timeout_stream", Some(conntrack.udp_stream_timeout)),
    ]
}

/// Writes only what differs: most network namespaces may read these settings only.
fn set(root: &Path, name: &str, value: u64) -> Result<(), String> {
    let path: PathBuf = root.join("proc/sys/net/netfilter").join(name);
    let value = value.to_string();
    if read(&path).map_err(|e| failure(&path, &e))? == value {
        return Ok(());
    }
    write(&path, &value)?;
    tracing::info!(name, value, "set a sysctl");
    Ok(())
}

fn read(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim().to_owned())
}

fn write(path: &Path, value: &str) -> Result<(), String> {
    fs::write(path, value).map_err(|e| failure(path, &e))
}

fn failure(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSCTLS: &str = "proc/sys/net/netfilter";
    const BUCKETS: &str = "sys/module/nf_conntrack/parameters/hashsize";

    /// A root like a host's after boot.
    fn host() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in [SYSCTLS, "proc/self", "sys/module/nf_conntrack/parameters"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for (name, value) in [
            ("nf_conntrack_max", "65536"),
            ("nf_conntrack_tcp_timeout_established", "432000"),
            ("nf_conntrack_tcp_timeout_close_wait", "60"),
            ("nf_conntrack_tcp_be_liberal", "0"),
            ("nf_conntrack_udp_timeout", "30"),
            ("nf_conntrack_udp_timeout_stream", "120"),
        ] {
            fs::write(root.path().join(SYSCTLS).join(name), format!("{value}\n")).unwrap();
        }
        fs::write(root.path().join(BUCKETS), "16384\n").unwrap();
        root
    }

    fn values(root: &Path) -> Vec<String> {
        let names = [
            "nf_conntrack_max",
            "nf_conntrack_tcp_timeout_established",
            "nf_conntrack_tcp_timeout_close_wait",
            "nf_conntrack_tcp_be_liberal",
            "nf_conntrack_udp_timeout",
            "nf_conntrack_udp_timeout_stream",
        ];
        names.map(|name| read(&root.join(SYSCTLS).join(name)).unwrap()).to_vec()
    }

    fn defaults() -> Conntrack {
        Conntrack {
            max_per_core: Some(1),
            min: Some(131_072),
            tcp_established_timeout: Some(GoDuration::from_secs(86_400)),
            tcp_close_wait_timeout: Some(GoDuration::from_secs(3600)),
            ..Conntrack::default()
        }
    }

    #[test]
    fn a76_defaults() {
        let root = host();
        apply(root.path(), &defaults()).unwrap();
        assert_eq!(values(root.path()), ["131072", "86400", "3600", "0", "30", "120"]);
        assert_eq!(read(&root.path().join(BUCKETS)).unwrap(), "32768");
        apply(root.path(), &Conntrack { max_per_core: Some(i32::MAX), ..defaults() }).unwrap();
        assert_eq!(values(root.path())[0], "1048576");
    }

    #[test]
    fn a76_zero_leaves_everything() {
        let root = host();
        let none = Conntrack {
            max_per_core: Some(0),
            tcp_established_timeout: Some(GoDuration::default()),
            ..Conntrack::default()
        };
        apply(root.path(), &none).unwrap();
        assert_eq!(values(root.path()), ["65536", "432000", "60", "0", "30", "120"]);
        let all = Conntrack {
            tcp_be_liberal: true,
            udp_timeout: GoDuration::from_secs(10),
            udp_stream_timeout: GoDuration::from_secs(20),
            ..none
        };
        apply(root.path(), &all).unwrap();
        assert_eq!(values(root.path()), ["65536", "432000", "60", "1", "10", "20"]);
    }

    #[test]
    fn a76_a_failure_names_its_file_and_stops_nothing() {
        let root = host();
        fs::remove_file(root.path().join(SYSCTLS).join("nf_conntrack_max")).unwrap();
        let error = apply(root.path(), &defaults()).unwrap_err().to_string();
        assert!(error.contains("nf_conntrack_max: No such file"), "{error}");
        let close_wait = root.path().join(SYSCTLS).join("nf_conntrack_tcp_timeout_close_wait");
        assert_eq!(read(&close_wait).unwrap(), "3600");
    }

    #[test]
    fn a98_the_score_is_the_processs_own() {
        let root = host();
        set_oom_score(root.path(), -999).unwrap();
        assert_eq!(read(&root.path().join("proc/self/oom_score_adj")).unwrap(), "-999");
    }
}
