//! Adler-32, the checksum of ZooKeeper's logs and snapshots.

const MODULUS: u32 = 65_521;

/// The most bytes that can be summed before the sums have to be reduced.
const BLOCK: usize = 5_552;

const LANES: u32 = 32;

/// A running checksum.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adler32 {
    a: u32,
    b: u32,
}

impl Adler32 {
    pub(super) fn new() -> Self {
        Adler32 { a: 1, b: 0 }
    }

    /// The checksum of `bytes` alone.
    pub(super) fn of(bytes: &[u8]) -> u32 {
        let mut adler = Adler32::new();
        adler.update(bytes);
        adler.value()
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK) {
            let (mut a, mut b) = (self.a, self.b);
            let mut lanes = block.chunks_exact(LANES as usize);
            for lane in &mut lanes {
                // Sums that do not wait for one another, which the compiler turns into vectors.
                let mut sum = 0;
                let mut weighted = 0;
                for (byte, weight) in lane.iter().zip((1..=LANES).rev()) {
                    sum += u32::from(*byte);
                    weighted += weight * u32::from(*byte);
                }
                b += LANES * a + weighted;
                a += sum;
            }
            for byte in lanes.remainder() {
                a += u32::from(*byte);
                b += a;
            }
            self.a = a % MODULUS;
            self.b = b % MODULUS;
        }
    }

    pub(super) fn value(self) -> u32 {
        (self.b << 16) | self.a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(bytes: &[u8]) -> u32 {
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in bytes {
            a = (a + u32::from(*byte)) % MODULUS;
            b = (b + a) % MODULUS;
        }
        (b << 16) | a
    }

    #[test]
    fn known_values() {
        assert_eq!(Adler32::of(b""), 1);
        assert_eq!(Adler32::of(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn as_the_plain_sum_and_in_any_pieces() {
        let bytes: Vec<u8> =
            (0..40_000_u32).map(|i| (i.wrapping_mul(i) >> 3).to_le_bytes()[0]).collect();
        for length in [1, 31, 32, 33, 5_551, 5_552, 5_553, 40_000] {
            assert_eq!(Adler32::of(&bytes[..length]), plain(&bytes[..length]), "{length}");
        }
        let ones = vec![0xff; 100_000];
        assert_eq!(Adler32::of(&ones), plain(&ones));
        let mut adler = Adler32::new();
        for piece in bytes.chunks(777) {
            adler.update(piece);
        }
        assert_eq!(adler.value(), plain(&bytes));
    }
}
