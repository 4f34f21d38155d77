//! CRC32c of what two packets differ by, without the packets.
//!
//! A CRC is linear: the CRCs of two packets of one length differ by the CRC, begun at zero, of
//! their difference. Where they differ in their first four bytes only, `d`, that is `d · x^(8n)`
//! modulo the CRC's polynomial, `n` being their length. The program multiplies twice by a power
//! from a table: one for each byte of `n`.

/// CRC32c's polynomial (RFC 9260, appendix A), least significant bit first: bit 31 stands for
/// x⁰, as in all that follows.
const POLYNOMIAL: u32 = 0x82f6_3b78;
/// x⁰.
const ONE: u32 = 1 << 31;

/// x^(8·i).
static SHIFT_LOW: [u32; 256] = powers(shift_byte(ONE));
/// x^(8·256·i).
static SHIFT_HIGH: [u32; 256] = powers(shift_byte(SHIFT_LOW[255]));

/// The CRC, begun at zero and not inverted, of `difference` at the start of `length` bytes, at most 65,535.
///
/// A global function, which the verifier (5.6, 51c39bb1d5d1) goes through once and not again for
/// every path that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn crc_of_difference(difference: u32, length: u32) -> u32 {
    let [low, high, ..] = length.to_le_bytes();
    let product = multiply(SHIFT_LOW[usize::from(low)], difference);
    multiply(SHIFT_HIGH[usize::from(high)], product)
}

/// `a · b`. Without branches, which the verifier would follow both ways, 32 times.
#[inline(always)]
const fn multiply(a: u32, mut b: u32) -> u32 {
    let (mut product, mut bit) = (0, 0);
    while bit < 32 {
        product ^= b & (((a << bit) >> 31) & 1).wrapping_neg();
        b = shift(b);
        bit += 1;
    }
    product
}

/// `a · x`.
#[inline(always)]
const fn shift(a: u32) -> u32 {
    (a >> 1) ^ (POLYNOMIAL & (a & 1).wrapping_neg())
}

/// `a · x⁸`.
const fn shift_byte(mut a: u32) -> u32 {
    let mut bit = 0;
    while bit < 8 {
        a = shift(a);
        bit += 1;
    }
    a
}

/// `factor⁰` to `factor²⁵⁵`.
const fn powers(factor: u32) -> [u32; 256] {
    let mut table = [ONE; 256];
    let mut i = 1;
    while i < table.len() {
        table[i] = multiply(table[i - 1], factor);
        i += 1;
    }
    table
}
