//! `cargo xtask bench path`: what Sluice costs, beside the same path without it.

mod flows;
mod path;
mod programs;
mod report;
mod rulesets;
mod worker;

use anyhow::{Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => worker::serve(),
        ["ask", work, target, milliseconds] => worker::ask(work, target, milliseconds),
        ["programs"] => {
            println!("{}", programs::run());
            Ok(())
        }
        ["flows"] => {
            println!("{}", flows::run()?);
            Ok(())
        }
        ["path", works @ ..] => {
            let works = worker::works(works)?;
            testbed::sweep();
            println!("{}", programs::run());
            for table in path::run(&works)? {
                println!("{table}");
            }
            Ok(())
        }
        _ => bail!("usage: sluice-bench path [connections|tcp|udp|stream]... | programs | flows"),
    }
}
