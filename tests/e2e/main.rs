//! The Kubernetes end-to-end tests that a service proxy can influence, under their own names, on a
//! cluster of network namespaces with a test API server. `docs/e2e.md` lists all names.

mod bed;
mod conntrack;
mod endpoint;
mod expect;
mod suite;

use bed::Bed;
use suite::Suite;

#[test]
fn kubernetes() {
    let mut bed = Bed::new();
    let mut suite = Suite::default();
    suite.together(&bed, &GROUPS);
    suite.finish();
    let _ = &mut bed;
}

/// What may run at the same time.
const GROUPS: [suite::Group; 1] = [conntrack::GROUP];
