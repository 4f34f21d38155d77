//! `cargo xtask demo`: Sluice balancing real traffic between network namespaces of this machine.
//!
//! Everything that is shown was checked; what does not work ends the demo with one line.

mod change;
mod inside;
mod interrupt;
mod picture;
mod requests;
mod screen;
mod stage;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};

use screen::Screen;
use stage::Stage;

const HELP: &str = "\
Usage: cargo xtask demo

Builds a node, three pods and a client out of network namespaces, runs sluice on the node with the
manifests in deploy/demo, and shows who answers. It needs root and takes a few seconds.

Set NO_COLOR for plain text.";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        None => {}
        Some("-h" | "--help") => {
            println!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Some(unknown) => {
            eprintln!("sluice-demo: {unknown:?} is no option of the demo; see --help");
            return ExitCode::from(2);
        }
    }
    let outcome = interrupt::watch().and_then(|()| run());
    // After a signal the main thread stops here, and says nothing of what vanished under it.
    let _undisturbed = interrupt::hands();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sluice-demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the stage, plays, and takes the stage down.
fn run() -> Result<()> {
    let (screen, began) = (Screen::new(), Instant::now());
    screen.title("1. A node, three pods and a client outside, out of network namespaces")?;
    let stage = Stage::build()?;
    let played = play(&stage, &screen);
    {
        let _undisturbed = interrupt::hands();
        drop(stage);
    }
    played?;
    let left = std::fs::read_to_string("/proc/self/mountinfo")?;
    let own = format!("/sluice-test/{}-", std::process::id());
    ensure!(!left.contains(&own), "a mount of the demo is left below /run/sluice-test");
    let seconds = began.elapsed().as_secs_f64();
    screen.title(&format!("All of it worked, in {seconds:.1} s. Everything was removed again."))?;
    Ok(())
}

fn play(stage: &Stage, screen: &Screen) -> Result<()> {
    picture::draw(screen)?;
    let mut sluice = stage.start_sluice()?;
    screen.title("2. sluice has read two Services and their EndpointSlices (deploy/demo)")?;
    inside::services(stage, screen)?;
    screen.title("3. Requests: TCP to web, UDP to dns; who answered?")?;
    requests::everyone(stage, screen)?;
    screen.title("4. Two of the three pods leave web")?;
    let old = change::OldConnection::open(stage)?;
    change::play(stage, screen, &old)?;
    requests::last_pod_only(stage, screen)?;
    screen.title("5. What the kernel knows")?;
    inside::flows(stage, screen, old.client)?;
    inside::map(stage, screen)?;
    screen.title("6. sluice ends (SIGTERM); the datapath goes on")?;
    sluice.stop()?;
    requests::last_pod_only(stage, screen)?;
    old.still_answers()?;
    screen.line(&format!("and the open connection is still answered by {}", old.pod))?;
    Ok(())
}
