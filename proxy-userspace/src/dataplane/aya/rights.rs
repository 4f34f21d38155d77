//! What this process may not do, for errors that say what to give it.

use std::fs;

/// The capabilities without which there is no datapath, with their numbers (capability.h).
const NEEDED: [(&str, u32); 3] = [("CAP_NET_ADMIN", 12), ("CAP_PERFMON", 38), ("CAP_BPF", 39)];

/// What to do about a refusal.
pub fn advice() -> String {
    advice_for(&status())
}

/// Whether a capability is lacking.
pub fn lacking() -> bool {
    !missing(&status()).is_empty()
}

fn status() -> String {
    // Without /proc nothing is known to be lacking.
    fs::read_to_string("/proc/self/status").unwrap_or_default()
}

fn advice_for(status: &str) -> String {
    let missing = missing(status);
    if !missing.is_empty() {
        return format!(
            "this process lacks {}: run it as root, and in a container add {} to \
             securityContext.capabilities",
            missing.join(", "),
            if missing.len() == 1 { "it" } else { "them" }
        );
    }
    if field(status, "Seccomp") == Some("2") {
        return "this process has the capabilities it needs, but a seccomp profile: use a container \
                runtime whose default allows bpf(2) with CAP_BPF (containerd 1.7, Docker 23.0), or \
                seccompProfile.type Unconfined"
            .to_owned();
    }
    "it needs CAP_SYS_ADMIN, or a security module (SELinux, AppArmor, lockdown) refuses: see the \
     kernel's log"
        .to_owned()
}

fn missing(status: &str) -> Vec<&'static str> {
    let effective = field(status, "CapEff").and_then(|text| u64::from_str_radix(text, 16).ok());
    let Some(effective) = effective else { return Vec::new() };
    let lacks = |number: u32| effective & (1 << number) == 0;
    NEEDED.iter().filter(|(_, number)| lacks(*number)).map(|(name, _)| *name).collect()
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_advice_names_what_is_lacking() {
        for (status, part) in [
            (
                "CapEff:\t0000000000000000\nSeccomp:\t2\n",
                "lacks CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF",
            ),
            ("CapEff:\t000000c000000000\nSeccomp:\t0\n", "lacks CAP_NET_ADMIN: run it as root"),
            ("CapEff:\t000000c000001000\nSeccomp:\t2\n", "but a seccomp profile"),
            ("CapEff:\t000001ffffffffff\nSeccomp:\t0\n", "a security module"),
            ("", "a security module"),
        ] {
            assert!(advice_for(status).contains(part), "{}", advice_for(status));
        }
    }
}
