//! Questions about small worlds, with the answers that the contract gives.

mod args;
mod detection;
mod endpoints;
mod frontends;
mod maglev;
mod verdicts;

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use super::{Explain, Refusal};

/// The node of the questions, and what it is run with unless a question says otherwise.
const NODE: [&str; 5] = [
    "--node=n1",
    "--node-ip=192.0.2.1,2001:db8::1",
    "--local-address=192.0.2.1,10.244.1.1,198.18.0.1,2001:db8::1",
    "--service-cidr=10.96.0.0/12,fd00:10:96::/112",
    "--cluster-cidr=10.244.0.0/16,fd00:10:244::/48",
];

/// A pod on this node, one elsewhere, and somebody outside.
const POD: &str = "10.244.1.7";
const CLIENT: &str = "203.0.113.5";

/// A Service `default/web` with a port `http`; `spec` is YAML in braces' syntax.
fn service(spec: &str) -> String {
    service_of("web", "", &format!("clusterIP: 10.96.0.10, ports: [{PORT}], {spec}"), "")
}

/// The port of [`service`].
const PORT: &str = "{name: http, port: 80, nodePort: 30080, protocol: TCP}";

fn service_of(name: &str, labels: &str, spec: &str, ingress: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default, \
         labels: {{{labels}}}}}\nspec: {{{spec}}}\nstatus: {{loadBalancer: {{ingress: [{ingress}]}}}}\n"
    )
}

/// A Service like [`service`] with the load-balancer address 198.51.100.9.
fn balanced(spec: &str) -> String {
    let spec = format!("type: LoadBalancer, clusterIP: 10.96.0.10, ports: [{PORT}], {spec}");
    service_of("web", "", &spec, "{ip: 198.51.100.9}")
}

/// A slice of `default/web`: its endpoints in braces' syntax, listening on 8080.
fn slice(endpoints: &[&str]) -> String {
    slice_of("web", "", "{name: http, port: 8080, protocol: TCP}", endpoints)
}

fn slice_of(service: &str, labels: &str, ports: &str, endpoints: &[&str]) -> String {
    let text = endpoints.join(", ");
    let v6 = text.contains("::");
    let kind = if v6 { "IPv6" } else { "IPv4" };
    static NAMES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("{service}-{}", NAMES.fetch_add(1, Ordering::Relaxed));
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: {name}, \
         namespace: default, labels: {{kubernetes.io/service-name: {service}, {labels}}}}}\n\
         addressType: {kind}\nports: [{ports}]\nendpoints: [{text}]\n"
    )
}

/// An endpoint on this node, and one on another.
const HERE: &str = "{addresses: [10.244.1.5], nodeName: n1}";
const THERE: &str = "{addresses: [10.244.2.5], nodeName: n2}";
/// Their addresses.
const HERE_AT: &str = "10.244.1.5:8080";
const THERE_AT: &str = "10.244.2.5:8080";
const BOTH_AT: &str = "10.244.1.5:8080 10.244.2.5:8080";

/// Objects, and how the proxy is run.
struct World {
    objects: String,
    flags: Vec<String>,
}

fn world(objects: &[&str]) -> World {
    World { objects: objects.join("---\n"), flags: NODE.map(str::to_owned).to_vec() }
}

impl World {
    /// Runs the proxy with another flag, instead of the same one in [`NODE`].
    fn with(mut self, flag: &str) -> Self {
        let name = flag.split('=').next().unwrap_or_default();
        self.flags.retain(|known| known.split('=').next() != Some(name));
        self.flags.push(flag.to_owned());
        self
    }

    /// The answer to `FROM -> TO`.
    fn ask(&self, question: &str) -> Answer {
        let (from, to) = question.split_once(" -> ").expect("an arrow");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("objects.yaml"), &self.objects).expect("a file");
        let manifests = format!("--manifests={}", folder.path().display());
        let mut args = vec!["sluice explain", "--from", from, "--to", to, "-o", "json", &manifests];
        args.extend(self.flags.iter().map(String::as_str));
        let text = run(&args).expect("an answer");
        let json = serde_json::from_str(&text).expect("JSON");
        Answer { question: question.to_owned(), text, json }
    }
}

/// Runs the command; an error is the line that a person reads.
fn run(args: &[&str]) -> Result<String, String> {
    let explain = Explain::parse_args(args.iter().map(Into::into)).map_err(|e| e.to_string())?;
    explain.run().map_err(|refusal| match refusal {
        Refusal::Usage(line) => line,
        Refusal::Failed(error) => format!("failed: {error:#}"),
    })
}

struct Answer {
    question: String,
    text: String,
    json: Value,
}

impl Answer {
    /// Expects a verdict, with the backends of one that forwards and then `masqueraded`, or not.
    #[track_caller]
    fn is(self, expected: &str) -> Self {
        let mut words = vec![self.json["verdict"].as_str().expect("a verdict")];
        let backends = self.json["backends"].as_array().expect("backends");
        words.extend(backends.iter().map(|at| at.as_str().expect("a backend")));
        if self.json["masquerade"].as_bool().expect("masquerade") {
            words.push("masqueraded");
        }
        assert_eq!(words.join(" "), expected, "{}: {}", self.question, self.json);
        self
    }

    /// Expects these rules among the applied ones, in this order.
    #[track_caller]
    fn by(self, rules: &[&str]) -> Self {
        let applied = self.json["rules"].as_array().expect("rules");
        let applied: Vec<&str> = applied.iter().map(|rule| rule.as_str().expect("text")).collect();
        let mut rest = applied.iter();
        let in_order = rules.iter().all(|rule| rest.any(|known| known == rule));
        assert!(in_order, "{}: {rules:?} are not in {applied:?}", self.question);
        self
    }

    #[track_caller]
    fn of(self, service: &str) -> Self {
        assert_eq!(self.json["service"], service, "{}", self.question);
        self
    }
}
