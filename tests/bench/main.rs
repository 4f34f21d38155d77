//! `cargo xtask bench path`: what Sluice costs, beside the same path without it.

mod programs;
mod report;

fn main() {
    println!("{}", programs::run());
}
