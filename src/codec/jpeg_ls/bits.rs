//! The bits of a scan: after a byte of ones comes a byte with seven bits of data (ISO/IEC 14495-1, C.1).

/// Reads the entropy-coded bytes between two markers, the highest bit first.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The next bits, left aligned; zeros below those that are held.
    cache: u64,
    held: u32,
    after_ones: bool,
}

impl<'a> Bits<'a> {
    /// Over bytes without markers.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, cache: 0, held: 0, after_ones: false }
    }

    /// Holds at least 32 bits unless the bytes end before.
    #[inline]
    fn fill(&mut self) {
        if self.held >= 32 {
            return;
        }
        // Four bytes at once where none of them changes the length of the next one.
        if let Some(&[a, b, c, d]) = self.bytes.get(self.at..self.at + 4)
            && !self.after_ones
            && ![a, b, c, d].contains(&0xff)
        {
            self.cache |= u64::from(u32::from_be_bytes([a, b, c, d])) << (32 - self.held);
            self.held += 32;
            self.at += 4;
            return;
        }
        while self.held <= 56
            && let Some(&byte) = self.bytes.get(self.at)
        {
            let width = 8 - u32::from(self.after_ones);
            self.cache |= u64::from(byte) << (64 - self.held - width);
            self.held += width;
            self.after_ones = byte == 0xff;
            self.at += 1;
        }
    }

    #[inline]
    fn drop_bits(&mut self, count: u32) {
        self.cache <<= count;
        self.held -= count;
    }

    /// The next `count` bits, at most 32 of them; `None` where they end before.
    #[inline]
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        self.fill();
        if count > self.held {
            return None;
        }
        // Two shifts, since one by 64 is none.
        let value = (self.cache >> 1 >> (63 - count)) as u32;
        self.drop_bits(count);
        Some(value)
    }

    /// How many zeros stand before the next one, which is passed over; `None` for more than `most` of
    /// them, or where the bits end before.
    #[inline]
    fn zeros(&mut self, most: u32) -> Option<u32> {
        let mut counted = 0;
        loop {
            self.fill();
            let zeros = self.cache.leading_zeros();
            if zeros < self.held {
                self.drop_bits(zeros + 1);
                return Some(counted + zeros).filter(|&zeros| zeros <= most);
            }
            counted += self.held;
            if self.held == 0 || counted > most {
                return None;
            }
            self.cache = 0;
            self.held = 0;
        }
    }

    /// A number of the limited Golomb code (A.5.3): `k` bits behind a unary part, or after
    /// `limit - wide - 1` zeros `wide` bits of the number less one.
    #[inline]
    pub(super) fn golomb(&mut self, k: u32, limit: u32, wide: u32) -> Option<i32> {
        let escape = limit.saturating_sub(wide + 1);
        let zeros = self.zeros(escape)?;
        let value =
            if zeros < escape { (zeros << k) | self.take(k)? } else { self.take(wide)? + 1 };
        i32::try_from(value).ok()
    }

    /// Bits that are left.
    pub(super) fn left(&self) -> usize {
        self.held as usize + 8 * (self.bytes.len() - self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bit_is_stuffed_after_a_byte_of_ones_and_nothing_follows_the_end() {
        // 11111111 then (0)1000000, 11111111, (0)0000001, and twelve bytes more.
        let bytes = [&[0xff, 0x40, 0xff, 0x01][..], &[0xa5; 12]].concat();
        let mut bits = Bits::new(&bytes);
        assert_eq!((bits.take(8), bits.take(1), bits.zeros(9)), (Some(255), Some(1), Some(6)));
        assert_eq!((bits.take(7), bits.zeros(6)), (Some(0x7f), Some(6)));
        assert_eq!((bits.left(), bits.take(32), bits.take(0)), (96, Some(0xa5a5_a5a5), Some(0)));
        assert_eq!((bits.take(30), bits.take(30)), (Some(0x2969_6969), Some(0x1a5a_5a5a)));
        assert_eq!((bits.take(5), bits.left(), bits.take(4)), (None, 4, Some(5)));
        assert_eq!((bits.zeros(9), bits.take(1)), (None, None));
        // A number with its limit: 3 zeros, a one, two bits; 5 zeros, a one and three bits.
        let mut bits = Bits::new(&[0b0001_1000, 0b0001_1010]);
        assert_eq!((bits.golomb(2, 9, 3), bits.golomb(2, 9, 3)), (Some(14), Some(6)));
        assert_eq!(Bits::new(&[0, 0]).golomb(2, 9, 3), None);
    }
}
