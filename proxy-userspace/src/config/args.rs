//! The command line as Go's flag library reads it, where that differs from clap.

use std::ffi::OsString;

/// The arguments with `_` for `-` in the names of flags, which kube-proxy accepts.
pub fn normalise(args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut names = true;
    let rewrite = |arg: OsString| {
        names &= arg != "--";
        match arg.to_str() {
            Some(text) if names && text.starts_with("--") => with_dashes(text).into(),
            Some(_) | None => arg,
        }
    };
    args.into_iter().map(rewrite).collect()
}

fn with_dashes(flag: &str) -> String {
    match flag.split_once('=') {
        Some((name, value)) => format!("{}={value}", name.replace('_', "-")),
        None => flag.replace('_', "-"),
    }
}

/// Go's spellings of true and false.
pub fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err("it is neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn underscores_in_names_are_dashes() {
        let args = ["sluice", "--cluster_cidr=a_b", "--proxy_mode", "e_b", "--", "--a_b"];
        let normal = normalise(args.map(OsString::from));
        assert_eq!(normal, ["sluice", "--cluster-cidr=a_b", "--proxy-mode", "e_b", "--", "--a_b"]);
    }
}
