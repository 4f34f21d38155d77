//! The netfilter rules a CNI plugin or a distribution adds to a node.

use std::io::Write;
use std::process::Stdio;

use anyhow::{Result, bail};

use crate::place::Place;

/// Which rules a node gets; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CniRules {
    /// Pods that leave the cluster's range are masqueraded (which also turns conntrack on).
    pub masquerade: bool,
    /// FORWARD drops by default and accepts pod traffic by address.
    pub forward_drop: bool,
}

impl CniRules {
    /// Loads the rules in a node's namespace.
    pub(crate) fn load(self, node: &Place) -> Result<()> {
        let mut text = String::new();
        if self.masquerade {
            text += MASQUERADE;
        }
        if self.forward_drop {
            text += FORWARD;
        }
        if text.is_empty() {
            return Ok(());
        }
        let mut command = node.command("nft")?;
        let mut nft = command.args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
        if let Some(mut stdin) = nft.stdin.take() {
            stdin.write_all(text.as_bytes())?;
        }
        match nft.wait()?.success() {
            true => Ok(()),
            false => bail!("loading the CNI rules of {} failed; see nft's message", node.name()),
        }
    }
}

const MASQUERADE: &str = "
table inet cni_masquerade {
    chain postrouting {
        type nat hook postrouting priority 100; policy accept;
        ip saddr 10.244.0.0/16 ip daddr != { 10.244.0.0/16, 224.0.0.0/4 } masquerade
        ip6 saddr fd00:10:244::/56 ip6 daddr != { fd00:10:244::/56, ff00::/8 } masquerade
    }
}
";

const FORWARD: &str = "
table inet cni_forward {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ct state invalid drop
        ip saddr 10.244.0.0/16 accept
        ip daddr 10.244.0.0/16 accept
        ip6 saddr fd00:10:244::/56 accept
        ip6 daddr fd00:10:244::/56 accept
    }
}
";
