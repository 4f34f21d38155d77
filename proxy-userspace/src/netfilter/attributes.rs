//! Netlink's attributes: written in order, read by iteration. Numbers are big-endian here, as
//! netfilter has them.

/// Marks an attribute that holds attributes.
const NESTED: u16 = 1 << 15;
/// The bits of a kind.
const KIND: u16 = 0x3fff;
/// Bytes before a value.
const HEADER: usize = 4;

/// Attributes to send.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With bytes.
    #[must_use]
    pub fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = (HEADER + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// With a text, which C ends with a zero.
    #[must_use]
    pub fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    /// With a number of one byte.
    #[must_use]
    pub fn u8(self, kind: u16, value: u8) -> Self {
        self.bytes(kind, &[value])
    }

    /// With a number of two bytes.
    #[must_use]
    pub fn u16(self, kind: u16, value: u16) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With a number of four bytes.
    #[must_use]
    pub fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With a number of eight bytes.
    #[must_use]
    pub fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// With attributes inside.
    #[must_use]
    pub fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }

    /// As they go into a message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The attributes in bytes that were received, kind and value; ends where they make no sense.
pub fn read(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..HEADER)?.try_into().ok()?) & KIND;
        let value = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of a kind.
pub fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    read(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// A text, without the zero that ends it.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// A number of up to eight bytes.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Attributes::new().text(1, "nat").u64(3, 7);
        let bytes = Attributes::new().u16(1, 80).nested(4, &inner).u8(2, 6);
        let bytes = bytes.as_bytes();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(read(bytes).map(|(kind, _)| kind).collect::<Vec<_>>(), [1, 4, 2]);
        assert_eq!(find(bytes, 1).map(number), Some(80));
        let inner = find(bytes, 4).unwrap();
        assert_eq!(find(inner, 1).map(text), Some("nat".to_owned()));
        assert_eq!(find(inner, 3).map(number), Some(7));
        assert_eq!(find(bytes, 9), None);
    }

    #[test]
    fn nonsense_ends_the_list() {
        assert_eq!(read(&[3, 0, 1, 0]).count(), 0, "shorter than its header");
        assert_eq!(read(&[40, 0, 1, 0, 9]).count(), 0, "longer than the bytes");
        assert_eq!(read(&[0, 0, 0, 0]).count(), 0, "no progress");
    }
}
