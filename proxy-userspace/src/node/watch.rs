//! Follows the node.

use std::time::Duration;

use rtnetlink::Handle;
use tokio::{sync::watch as channel, task::JoinHandle, time::sleep};

use super::{Config, NodeState, events::Events, snapshot};

/// A new veth makes half a dozen events within a millisecond: one snapshot answers them all.
const SETTLE: Duration = Duration::from_millis(2);
/// Before trying again what the kernel refused.
const RETRY: Duration = Duration::from_secs(1);

/// Follows interfaces and addresses of this thread's network namespace. The receiver starts with
/// the present state, and has the newest one whenever it looks; it ends with `config`'s sender.
pub async fn watch(
    config: channel::Receiver<Config>,
) -> Result<channel::Receiver<NodeState>, rtnetlink::Error> {
    let refused = rtnetlink::Error::NamespaceError;
    let socket = |e: std::io::Error| refused(format!("opening a netlink socket: {e}"));
    // Listen before looking, so that nothing happens in between.
    let events = Events::new().map_err(socket)?;
    let (connection, handle, _) = rtnetlink::new_connection().map_err(socket)?;
    let connection = tokio::spawn(connection);
    let first = snapshot::take(&handle).await?;
    let state = NodeState::new(&first, &config.borrow());
    let (sender, receiver) = channel::channel(state);
    tokio::spawn(follow(events, handle, connection, config, sender));
    Ok(receiver)
}

async fn follow(
    mut events: Events,
    handle: Handle,
    connection: JoinHandle<()>,
    mut config: channel::Receiver<Config>,
    sender: channel::Sender<NodeState>,
) {
    loop {
        tokio::select! {
            heard = events.changed() => {
                if let Err(e) = heard {
                    tracing::warn!("listening to netlink: {e}; looking again in {RETRY:?}");
                    sleep(RETRY).await;
                }
                sleep(SETTLE).await;
            }
            changed = config.changed() => if changed.is_err() { break },
            () = sender.closed() => break,
        }
        if let Err(e) = events.forget() {
            tracing::debug!("listening to netlink: {e}");
        }
        let state = loop {
            match snapshot::take(&handle).await {
                Ok(snapshot) => break NodeState::new(&snapshot, &config.borrow()),
                // EINTR among others: the set changed while it was dumped.
                Err(e) => {
                    tracing::warn!("reading interfaces and addresses: {e}; again in {RETRY:?}");
                    sleep(RETRY).await;
                }
            }
        };
        sender.send_if_modified(|old| {
            let changed = *old != state;
            *old = state;
            changed
        });
    }
    connection.abort();
}
