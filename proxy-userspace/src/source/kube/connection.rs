//! How the API server is reached.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};

use super::Observer;

/// What is needed to make a client, again whenever credentials were renewed.
///
/// kube-rs reads a token file, in the cluster too, at most every 50 seconds. Whoever rotates a
/// token and revokes the old one at once would lock us out for that long, so a 401 makes a new
/// client: it reads the kubeconfig, the token and the certificates anew.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    kubeconfig: Option<PathBuf>,
    master: Option<String>,
    observer: Observer,
}

impl Connection {
    /// A connection by kubeconfig file, by the URL of the API server, or both, where the URL
    /// wins over the file's; by neither, the Pod's own service account.
    #[must_use]
    pub fn new(kubeconfig: Option<&Path>, master: Option<&str>) -> Self {
        Self {
            kubeconfig: kubeconfig.map(Path::to_owned),
            master: master.map(str::to_owned),
            observer: Observer::default(),
        }
    }

    /// The same, and somebody is told of every request.
    #[must_use]
    pub fn observed_by(self, observer: Observer) -> Self {
        Self { observer, ..self }
    }

    /// Makes a client.
    ///
    /// # Errors
    /// The kubeconfig, the URL or the service account cannot be used.
    pub async fn client(&self) -> Result<Client> {
        let mut config = match (&self.kubeconfig, &self.master) {
            (Some(path), _) => from_file(path).await?,
            (None, Some(_)) => Config::new("http://localhost".parse()?),
            (None, None) => Config::incluster().context(
                "reading the Pod's service account failed; outside a Pod name a --kubeconfig",
            )?,
        };
        if let Some(master) = &self.master {
            config.cluster_url =
                master.parse().with_context(|| format!("--master {master:?} is not a URL"))?;
        }
        add_scheme(&mut config)?;
        need_no_roots(&mut config);
        prefer_trimmed_token_file(&mut config.auth_info);
        // The watch loop has its own, quicker backoff.
        config.default_retry = false;
        let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
        let builder =
            ClientBuilder::try_from(config).context("making a Kubernetes client failed")?;
        Ok(builder.with_layer(&self.observer.of(&host)).build())
    }
}

/// Makes a client as [`Connection::client`] does.
///
/// # Errors
/// The kubeconfig, the URL or the service account cannot be used.
pub async fn client(kubeconfig: Option<&Path>, master: Option<&str>) -> Result<Client> {
    Connection::new(kubeconfig, master).client().await
}

async fn from_file(path: &Path) -> Result<Config> {
    let failed = || format!("reading kubeconfig {} failed", path.display());
    let file =
        Kubeconfig::read_from(path).map_err(|error| on_one_line(&error)).with_context(failed)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.with_context(failed)
}

/// A YAML error brings the lines around it, which an operator's log has no place for.
fn on_one_line(error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow::Error::msg(error.to_string().lines().next().unwrap_or_default().to_owned())
}

/// As client-go does: a server without a scheme, such as `10.0.0.1:6443`, is reached by https where
/// something is said about certificates, else by http. kube-rs panics on a URL without one.
fn add_scheme(config: &mut Config) -> Result<()> {
    let url = &config.cluster_url;
    if url.scheme().is_some() {
        return Ok(());
    }
    let Some(authority) = url.authority() else {
        bail!("the API server's URL {url:?} names no host; write https://HOST:PORT");
    };
    let auth = &config.auth_info;
    let tls = config.root_cert.is_some()
        || config.accept_invalid_certs
        || auth.client_certificate.is_some()
        || auth.client_certificate_data.is_some();
    let scheme = if tls { "https" } else { "http" };
    config.cluster_url =
        format!("{scheme}://{authority}").parse().context("the API server's URL cannot be used")?;
    Ok(())
}

/// Where no certificate will be checked against the system's, none are looked for: the image has no
/// system's certificates, and without any a client could not be made.
fn need_no_roots(config: &mut Config) {
    let checked = config.cluster_url.scheme_str() == Some("https") && !config.accept_invalid_certs;
    if !checked && config.root_cert.is_none() {
        config.root_cert = Some(Vec::new());
    }
}

/// As client-go does: a token file wins over a token, and the line feed at its end is not part
/// of the token (kube-rs would refuse it as a header).
fn prefer_trimmed_token_file(auth: &mut AuthInfo) {
    let Some(path) = &auth.token_file else { return };
    let trimmed = std::fs::read_to_string(path)
        .ok()
        .filter(|token| token.trim().len() != token.len())
        .map(|token| token.trim().to_owned());
    auth.token = trimmed.map(Into::into);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reached(url: &str, insecure: bool) -> Result<String> {
        let mut config = Config::new(url.parse()?);
        config.accept_invalid_certs = insecure;
        add_scheme(&mut config)?;
        Ok(config.cluster_url.to_string())
    }

    #[tokio::test]
    async fn a_broken_kubeconfig_is_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "x: [\n").unwrap();
        let error = format!("{:#}", from_file(file.path()).await.unwrap_err());
        assert!(error.starts_with("reading kubeconfig /") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn certificates_of_the_system_are_looked_for_where_they_count() {
        let looked_for = |url: &str, insecure: bool| {
            let mut config = Config::new(url.parse().unwrap());
            config.accept_invalid_certs = insecure;
            need_no_roots(&mut config);
            config.root_cert.is_none()
        };
        assert!(looked_for("https://api:6443", false));
        assert!(!looked_for("https://api:6443", true));
        assert!(!looked_for("http://api:6443", false));
    }

    #[test]
    fn a99_a_server_without_a_scheme_gets_one() {
        assert_eq!(reached("10.0.0.1:6443", true).unwrap(), "https://10.0.0.1:6443/");
        assert_eq!(reached("[fd00::1]:8080", false).unwrap(), "http://[fd00::1]:8080/");
        assert_eq!(reached("api", false).unwrap(), "http://api/");
        assert_eq!(reached("https://api:6443/x", false).unwrap(), "https://api:6443/x");
        assert!(reached("/path", false).unwrap_err().to_string().contains("names no host"));
    }
}
