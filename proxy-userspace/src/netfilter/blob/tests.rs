use super::*;

/// Writes tables as iptables does.
struct Writer {
    family: Family,
    bytes: Vec<u8>,
    count: u32,
}

impl Writer {
    fn entry(&mut self, target: &str, data: &[u8]) -> u32 {
        let start = self.bytes.len();
        let layout = layout(self.family);
        let length = (layout.size + TARGET + data.len()).next_multiple_of(8);
        self.bytes.resize(start + length, 0);
        let entry = &mut self.bytes[start..];
        entry[layout.target..][..2].copy_from_slice(&(layout.size as u16).to_ne_bytes());
        entry[layout.next..][..2].copy_from_slice(&(length as u16).to_ne_bytes());
        entry[layout.counters][..8].copy_from_slice(&u64::from(self.count).to_ne_bytes());
        entry[layout.size + NAME.start..][..target.len()].copy_from_slice(target.as_bytes());
        entry[layout.size + TARGET..][..data.len()].copy_from_slice(data);
        self.count += 1;
        start as u32
    }

    fn verdict(&mut self, verdict: i32) -> u32 {
        self.entry("", &verdict.to_ne_bytes())
    }

    fn chain(&mut self, name: &str) -> i32 {
        let mut data = [0; 30];
        data[..name.len()].copy_from_slice(name.as_bytes());
        self.entry(ERROR, &data);
        self.bytes.len() as i32
    }
}

/// PREROUTING jumps to KUBE-SERVICES and CNI; KUBE-SERVICES to KUBE-SVC-A; CNI falls through once
/// and returns.
fn table(family: Family) -> Table {
    let mut writer = Writer { family, bytes: Vec::new(), count: 0 };
    // Twice: the second time the chains' offsets are known.
    let (mut services, mut service, mut cni) = (0, 0, 0);
    for _ in 0..2 {
        writer = Writer { family, bytes: Vec::new(), count: 0 };
        let first = writer.verdict(services);
        writer.verdict(cni);
        let policy = writer.verdict(-2);
        assert!(first == 0 && policy > 0);
        services = writer.chain("KUBE-SERVICES");
        writer.verdict(service);
        writer.verdict(-5);
        service = writer.chain("KUBE-SVC-A");
        writer.entry("DNAT", &[0; 8]);
        writer.verdict(-5);
        cni = writer.chain("CNI");
        let length = writer.bytes.len() as i32 + (layout(family).size + TARGET + 8) as i32;
        writer.verdict(length);
        writer.verdict(-5);
        writer.chain(ERROR);
    }
    let step = (layout(family).size + TARGET + 8) as u32;
    Table {
        family,
        valid_hooks: 1,
        hook_entry: [0; HOOKS],
        underflow: [2 * step, 0, 0, 0, 0],
        count: writer.count,
        entries: writer.bytes,
    }
}

#[test]
fn c20_a_legacy_table_loses_only_kube_proxys_chains() {
    for family in Family::BOTH {
        let table = table(family);
        let (removal, jumps) = table.leftovers("nat").expect("a table");
        assert_eq!(removal.chains.iter().collect::<Vec<_>>(), ["KUBE-SERVICES", "KUBE-SVC-A"]);
        assert_eq!(jumps.len(), 1);
        assert_eq!((jumps[0].from.as_str(), jumps[0].to.as_str()), ("PREROUTING", "KUBE-SERVICES"));
        let (left, counters) = table.without(&removal).expect("a table");
        let parsed = left.parse().expect("a table");
        let chains: Vec<_> = parsed.chains.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(chains, ["PREROUTING", "CNI", ERROR]);
        let jumps: Vec<_> = parsed.entries.iter().filter_map(|e| parsed.jump(e)).collect();
        assert_eq!(jumps.len(), 1);
        assert_eq!(jumps[0].to, "CNI");
        assert_eq!(left.count as usize, parsed.entries.len());
        assert_eq!(left.underflow[0] as usize, parsed.entries[1].start, "the policy moved up");
        let packets: Vec<u64> = counters.iter().map(|counter| counter[0]).collect();
        assert_eq!(packets, [1, 2, 9, 10, 11, 12], "each keeps its own");
        let again = left.leftovers("nat").expect("a table").0;
        assert!(again.chains.is_empty());
    }
}

#[test]
fn nonsense_is_no_table() {
    let mut table = table(Family::V4);
    table.entries.truncate(200);
    assert_eq!(table.leftovers("nat"), None);
    let mut bent = self::table(Family::V4);
    bent.entries[90..92].fill(0);
    assert_eq!(bent.leftovers("nat"), None);
}
