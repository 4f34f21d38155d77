//! A kubeconfig file for a test server.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Writes `kubeconfig` into `dir`, for the server at `url`, with the bearer token of a file.
///
/// # Errors
/// The file cannot be written.
pub fn kubeconfig(dir: &Path, url: &str, token_file: Option<&Path>) -> Result<PathBuf> {
    let user = token_file.map_or_else(
        || "{}".to_owned(),
        |path| format!("{{tokenFile: {:?}}}", path.display().to_string()),
    );
    let text = format!(
        "apiVersion: v1
kind: Config
clusters:
- name: test
  cluster: {{server: {url:?}}}
users:
- name: test
  user: {user}
contexts:
- name: test
  context: {{cluster: test, user: test}}
current-context: test
"
    );
    let path = dir.join("kubeconfig");
    std::fs::write(&path, text).with_context(|| format!("writing {} failed", path.display()))?;
    Ok(path)
}
