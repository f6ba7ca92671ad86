//! The partition of a key, as producers choose it (pure).

use clap::ValueEnum;
use serde::Serialize;

/// Whose way of choosing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Partitioner {
    /// The Java client's, kafka-python's, franz-go's and sarama's with `murmur2`: murmur2.
    #[default]
    Java,
    /// librdkafka's `consistent` and `consistent_random`, its default: CRC32.
    Librdkafka,
}

impl Partitioner {
    /// The partition of `key` among `count`, of which there is at least one.
    pub fn partition(self, key: &[u8], count: u32) -> u32 {
        let hash = match self {
            // Java has no unsigned numbers: its clients drop the sign bit.
            Partitioner::Java => murmur2(key) & 0x7fff_ffff,
            Partitioner::Librdkafka => crc32fast::hash(key),
        };
        hash % count.max(1)
    }
}

/// murmur2 in 32 bits with Kafka's seed, as `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    // A key is at most a frame long.
    #[allow(clippy::cast_possible_truncation, reason = "the length enters modulo 2^32")]
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    if !rest.is_empty() {
        for (place, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values that Kafka's own test of its hash has.
    #[test]
    fn murmur2_is_kafkas() {
        let values: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ];
        for (key, hash) in values {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn every_partition_is_one_of_them() {
        for count in 1..50 {
            for key in 0..200_u32 {
                let key = key.to_string();
                assert!(Partitioner::Java.partition(key.as_bytes(), count) < count);
                assert!(Partitioner::Librdkafka.partition(key.as_bytes(), count) < count);
            }
        }
        // The check value of CRC-32.
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(Partitioner::Librdkafka.partition(b"123456789", 1000), 0xcbf4_3926 % 1000);
    }
}
