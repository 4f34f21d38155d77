//! The verifier of this machine's kernel takes every program.

use aya::{Ebpf, programs::Program};
use sluice::dataplane::aya::load::OBJECT;

/// The kernel's own limit is a million (5.2, c04c0d2b968a); a program that needs half of it today
/// is refused after the next feature.
const MOST_INSTRUCTIONS: u32 = 500_000;

#[test]
fn every_program_loads() {
    let mut bpf = Ebpf::load(OBJECT).expect("creating the maps");
    let mut count = 0;
    for (name, program) in bpf.programs_mut() {
        let (result, info) = match program {
            Program::SchedClassifier(program) => (program.load(), program.info()),
            Program::CgroupSockAddr(program) => (program.load(), program.info()),
            Program::Xdp(program) => (program.load(), program.info()),
            other => panic!("{name} is a {:?}", other.prog_type()),
        };
        result.unwrap_or_else(|e| panic!("{name}: {e}"));
        let verified = info.expect("a loaded program").verified_instruction_count();
        println!("{name}: {verified:?} instructions verified");
        assert!(verified.expect("since 5.16") < MOST_INSTRUCTIONS, "{name}");
        count += 1;
    }
    assert_eq!(count, 15);
}
