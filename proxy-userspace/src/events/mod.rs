//! Kubernetes Events: what an operator should see with `kubectl describe` (A83, A87, A96).
//!
//! Telling never waits and never fails; whoever writes them does it beside the proxy's work, and
//! leaves some out rather than flood the API server.

pub mod limit;
pub mod writer;

use tokio::sync::{mpsc, oneshot};

use crate::model::{
    problem::{Problem, Subject},
    spec::ObjectName,
};

/// Events that may wait to be written; more are left out.
const QUEUE: usize = 256;

/// The object that an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Regarding {
    /// The own Node.
    Node,
    /// A Service.
    Service(ObjectName),
    /// An EndpointSlice.
    Slice(ObjectName),
}

/// An Event to be.
#[derive(Debug)]
pub struct Message {
    /// What it is about.
    pub regarding: Regarding,
    /// Whether it is a warning.
    pub warning: bool,
    /// Why, in one word.
    pub reason: &'static str,
    /// What was being done, in one word.
    pub action: &'static str,
    /// The whole story.
    pub note: String,
    /// Told when the Event is written, or left out.
    pub receipt: Option<oneshot::Sender<()>>,
}

impl Message {
    /// A message about the Node, with the one action that kube-proxy's own have.
    pub fn about_node(warning: bool, reason: &'static str, note: impl Into<String>) -> Self {
        Self {
            regarding: Regarding::Node,
            warning,
            reason,
            action: "StartKubeProxy",
            note: note.into(),
            receipt: None,
        }
    }

    /// A warning about a Service.
    pub fn about_service(
        service: &ObjectName,
        reason: &'static str,
        action: &'static str,
        note: String,
    ) -> Self {
        let regarding = Regarding::Service(service.clone());
        Self { regarding, warning: true, reason, action, note, receipt: None }
    }

    /// A warning about something that cannot be used as it is.
    pub fn about_problem(problem: &Problem) -> Self {
        let (regarding, note) = match &problem.subject {
            Subject::Service(name) => (Regarding::Service(name.clone()), problem.text.clone()),
            Subject::Slice(name) => (Regarding::Slice(name.clone()), problem.text.clone()),
            Subject::File(_) | Subject::Other(_) => (Regarding::Node, problem.to_string()),
        };
        let (reason, action) = ("ServiceProxyProblem", "Program");
        Self { regarding, warning: true, reason, action, note, receipt: None }
    }
}

/// Where Events are told. Clones are one.
#[derive(Clone, Debug)]
pub struct Events(mpsc::Sender<Message>);

/// The two ends.
pub fn channel() -> (Events, mpsc::Receiver<Message>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    (Events(sender), receiver)
}

impl Events {
    /// Tells an Event. With a full queue, or nobody to write it, it is left out: the log has it.
    pub fn tell(&self, message: Message) {
        if let Err(error) = self.0.try_send(message) {
            tracing::debug!(%error, "an Event was left out");
        }
    }

    /// Tells an Event and waits until it was written: for the last words of a process.
    pub async fn tell_and_wait(&self, mut message: Message) {
        let (sender, written) = oneshot::channel();
        message.receipt = Some(sender);
        self.tell(message);
        // An error says that it was left out.
        let _written = written.await;
    }
}
