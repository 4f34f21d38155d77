//! A container runtime's default seccomp profile, as Debian ships podman's.

use std::fs;

use serde_json::{Value, json};

/// From the package `golang-github-containers-common`.
const PROFILE: &str = "/usr/share/containers/seccomp.json";

/// What containerd 1.7 and Docker 23.0 added: a system call that a capability opens
/// (containerd, contrib/seccomp/seccomp_default.go).
const OPENED: [(&str, &str); 2] = [("CAP_BPF", "bpf"), ("CAP_PERFMON", "perf_event_open")];

/// The filter for a process with these capabilities, in the OCI runtime's terms; `modern` as those two
/// have it.
pub(crate) fn filter(capabilities: &[String], modern: bool) -> Value {
    let profile: Value = serde_json::from_str(&fs::read_to_string(PROFILE).unwrap()).unwrap();
    let opened: Vec<&str> = OPENED
        .iter()
        .filter(|(capability, _)| modern && capabilities.iter().any(|it| it == capability))
        .map(|(_, call)| *call)
        .collect();
    let rules = profile["syscalls"].as_array().unwrap().iter();
    let mut rules: Vec<Value> = rules
        .filter(|rule| applies(rule, capabilities))
        .map(|rule| {
            let names = rule["names"].as_array().unwrap().iter();
            let names = names.filter(|name| !opened.contains(&name.as_str().unwrap()));
            let mut rule = rule.clone();
            rule["names"] = names.cloned().collect();
            rule.as_object_mut().unwrap().retain(|key, value| {
                ["names", "action", "args", "errnoRet"].contains(&key.as_str()) && !value.is_null()
            });
            rule
        })
        .filter(|rule| rule["names"] != json!([]))
        .collect();
    if !opened.is_empty() {
        rules.push(json!({"names": opened, "action": "SCMP_ACT_ALLOW"}));
    }
    json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": rules,
    })
}

/// Whether a rule of the profile is one for these capabilities and this architecture.
fn applies(rule: &Value, capabilities: &[String]) -> bool {
    let list = |side: &str, what: &str| rule[side][what].as_array().cloned().unwrap_or_default();
    let has = |capability: &Value| capabilities.iter().any(|it| capability == it.as_str());
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        _ => "arm64",
    };
    let architectures = list("includes", "arches");
    list("includes", "caps").iter().all(has)
        && !list("excludes", "caps").iter().any(has)
        && (architectures.is_empty() || architectures.contains(&architecture.into()))
        && !list("excludes", "arches").contains(&architecture.into())
}
