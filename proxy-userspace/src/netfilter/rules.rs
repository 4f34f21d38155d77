//! What a rule of `iptables-nft` matches: newer versions write nftables' own expressions, older ones
//! keep iptables' matches for the ports.

use super::attributes::{find, number, read, text};

/// Destination (zeros for any), protocol and port, as in [`super::blob::Table::destinations`].
pub type Destination = (Vec<u8>, u8, u16);

/// What was loaded last.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Destination,
    Protocol,
    Port,
    Other,
}

/// Attributes (`NFTA_*`).
const NAME: u16 = 1;
const DATA: u16 = 2;
const META_KEY: u16 = 2;
const PAYLOAD: [u16; 3] = [2, 3, 4];
const CMP_OPERATOR: u16 = 2;
const CMP_DATA: u16 = 3;
const VALUE: u16 = 1;
const MATCH_NAME: u16 = 1;
const MATCH_INFO: u16 = 3;

/// Reads a rule's expressions; `length` is that of an address. A rule without a port is none.
pub fn destination(expressions: &[u8], length: usize) -> Option<Destination> {
    let (mut address, mut proto, mut port) = (vec![0; length], None, None);
    let mut loaded = Loaded::Other;
    for (_, expression) in read(expressions) {
        let (Some(name), Some(data)) = (find(expression, NAME), find(expression, DATA)) else {
            continue;
        };
        match text(name).as_str() {
            "meta" => loaded = meta(data),
            "payload" => loaded = payload(data, length),
            "cmp" if find(data, CMP_OPERATOR).map(number) == Some(libc::NFT_CMP_EQ as u64) => {
                let value = find(data, CMP_DATA).and_then(|data| find(data, VALUE));
                match (loaded, value) {
                    (Loaded::Destination, Some(value)) => address = value.to_vec(),
                    (Loaded::Protocol, Some(value)) => proto = value.first().copied(),
                    (Loaded::Port, Some(value)) => port = Some(number(value) as u16),
                    (Loaded::Other, _) | (_, None) => {}
                }
            }
            "match" => port = port.or_else(|| matched(data)),
            // An expression of no interest.
            _ => {}
        }
    }
    Some((address, proto?, port?))
}

fn meta(data: &[u8]) -> Loaded {
    match find(data, META_KEY).map(number) {
        Some(key) if key == libc::NFT_META_L4PROTO as u64 => Loaded::Protocol,
        Some(_) | None => Loaded::Other,
    }
}

fn payload(data: &[u8], length: usize) -> Loaded {
    let place = PAYLOAD.map(|kind| find(data, kind).map_or(u64::MAX, number));
    let (network, transport) =
        (libc::NFT_PAYLOAD_NETWORK_HEADER as u64, libc::NFT_PAYLOAD_TRANSPORT_HEADER as u64);
    let (destination, protocol) = if length == 4 { (16, 9) } else { (24, 6) };
    match place {
        [base, offset, size]
            if base == network && offset == destination && size == length as u64 =>
        {
            Loaded::Destination
        }
        [base, offset, 1] if base == network && offset == protocol => Loaded::Protocol,
        [base, 2, 2] if base == transport => Loaded::Port,
        _ => Loaded::Other,
    }
}

/// The first destination port of a match of iptables' own.
fn matched(data: &[u8]) -> Option<u16> {
    let info = find(data, MATCH_INFO)?;
    let at = match text(find(data, MATCH_NAME)?).as_str() {
        "tcp" | "udp" => 4,
        "sctp" => 0,
        _ => return None,
    };
    Some(u16::from_ne_bytes(*info.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::{super::attributes::Attributes, *};

    fn expression(name: &str, data: &Attributes) -> Attributes {
        Attributes::new().text(NAME, name).nested(DATA, data)
    }

    fn equal(bytes: &[u8]) -> Attributes {
        let value = Attributes::new().bytes(VALUE, bytes);
        expression("cmp", &Attributes::new().u32(2, 0).nested(CMP_DATA, &value))
    }

    fn load(base: u32, offset: u32, size: u32) -> Attributes {
        expression("payload", &Attributes::new().u32(2, base).u32(3, offset).u32(4, size))
    }

    fn rule(expressions: &[Attributes]) -> Attributes {
        expressions.iter().fold(Attributes::new(), |list, one| list.nested(1, one))
    }

    #[test]
    fn ports_in_either_way() {
        let address = [load(1, 16, 4), equal(&[10, 96, 0, 1])];
        let proto = [expression("meta", &Attributes::new().u32(2, 16)), equal(&[6])];
        let new = [load(2, 2, 2), equal(&[0, 80])];
        let info = [[0; 4], [80, 0, 80, 0], [0; 4]].concat();
        let old = [expression("match", &Attributes::new().text(MATCH_NAME, "tcp").bytes(3, &info))];
        for port in [&new[..], &old[..]] {
            let whole = rule(&[&address[..], &proto[..], port].concat());
            let found = destination(whole.as_bytes(), 4);
            assert_eq!(found, Some((vec![10, 96, 0, 1], 6, 80)));
        }
        let without = rule(&[&address[..], &proto[..]].concat());
        assert_eq!(destination(without.as_bytes(), 4), None);
    }
}
