//! Addresses as Go's `ParseIPSloppy` and `ParseCIDRSloppy` read them (A10).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// Parses an address. Leading zeros are decimal, never octal, and the result is canonical: an
/// IPv4-mapped IPv6 address is the IPv4 one, as in Go.
#[must_use]
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    if !text.contains(':') {
        return parse_v4(text).map(IpAddr::V4);
    }
    parse_v6(text).map(|ip| IpAddr::V6(ip).to_canonical())
}

/// Parses `address/length`; host bits are cleared.
#[must_use]
pub fn parse_cidr(text: &str) -> Option<IpNet> {
    let (address, length) = text.split_once('/')?;
    let length = parse_decimal(length, 128)?;
    let net = match (parse_ip(address)?, address.contains(':')) {
        // Go masks an IPv4-mapped prefix as IPv6 and then finds no IPv4 in it; its IPv4
        // reading is the only one that can be meant.
        (IpAddr::V4(ip), true) => IpNet::new(IpAddr::V4(ip), length.checked_sub(96)?),
        (ip, _) => IpNet::new(ip, length),
    };
    net.ok().map(|net| net.trunc())
}

fn parse_v4(text: &str) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = parse_decimal(parts.next()?, 255)?;
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

/// IPv6 groups are hexadecimal, where leading zeros mean nothing; only an embedded IPv4 tail
/// needs care.
fn parse_v6(text: &str) -> Option<Ipv6Addr> {
    if !text.contains('.') {
        return text.parse().ok();
    }
    let (head, tail) = text.rsplit_once(':')?;
    let tail = parse_v4(tail)?;
    format!("{head}:{tail}").parse().ok()
}

/// Decimal digits only: no sign, no blanks.
fn parse_decimal(text: &str, max: u32) -> Option<u8> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = text.parse::<u32>().ok().filter(|value| *value <= max)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a10_leading_zeros_are_decimal() {
        for (text, canonical) in [
            ("010.020.030.040", "10.20.30.40"),
            ("192.168.001.008", "192.168.1.8"),
            ("00000010.0.0.1", "10.0.0.1"),
            ("0fd00::0001", ""),
            ("fd00:0000::01", "fd00::1"),
            ("::ffff:010.0.0.01", "10.0.0.1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("64:ff9b::010.0.0.1", "64:ff9b::a00:1"),
        ] {
            let found = parse_ip(text).map(|ip| ip.to_string()).unwrap_or_default();
            assert_eq!(found, canonical, "{text}");
        }
    }

    #[test]
    fn a10_no_address_is_no_panic() {
        for text in [
            "",
            " ",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "+1.2.3.4",
            "a",
            "::1%eth0",
            ":",
            "1.2.3.4 ",
        ] {
            assert_eq!(parse_ip(text), None, "{text}");
        }
    }

    #[test]
    fn a10_cidrs_are_canonical() {
        for (text, canonical) in [
            ("010.001.002.003/08", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("fd00::1/64", "fd00::/64"),
            ("::ffff:10.0.0.1/104", "10.0.0.0/8"),
            ("10.0.0.0/33", ""),
            ("10.0.0.0/-1", ""),
            ("10.0.0.0", ""),
            ("10.0.0.0/", ""),
            ("::/129", ""),
        ] {
            let found = parse_cidr(text).map(|net| net.to_string()).unwrap_or_default();
            assert_eq!(found, canonical, "{text}");
        }
    }
}
