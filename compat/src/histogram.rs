//! A histogram of durations in logarithmic buckets: any quantile within one per cent, no allocation.

use std::time::Duration;

/// Sub-buckets of a power of two, as a power of two: 128 keep the error of a quantile below 1/128.
const PRECISION_BITS: u32 = 7;
const SUB_BUCKETS: usize = 1 << PRECISION_BITS;
const BUCKETS: usize = SUB_BUCKETS * (64 - PRECISION_BITS as usize + 1);

/// Durations counted in nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0 }
    }
}

impl Histogram {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanoseconds)) {
            *count += 1;
            self.total += 1;
        }
    }

    /// How many durations were counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The duration that the share `quantile` (0 to 1) of all durations does not exceed; zero when
    /// nothing was counted. It is the upper end of its bucket, so never too small.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of the total fits"
    )]
    pub fn quantile(&self, quantile: f64) -> Duration {
        let wanted = ((self.total as f64 * quantile).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Duration::from_nanos(upper_end(index));
            }
        }
        Duration::ZERO
    }
}

/// The bucket of a value: the value itself below [`SUB_BUCKETS`], else its leading bits.
fn bucket(value: u64) -> usize {
    let magnitude = (u64::BITS - value.leading_zeros()).saturating_sub(PRECISION_BITS);
    let shift = magnitude.saturating_sub(1);
    let leading = usize::try_from(value >> shift).unwrap_or(usize::MAX);
    leading + SUB_BUCKETS * shift as usize
}

/// The largest value of a bucket.
fn upper_end(index: usize) -> u64 {
    let shift = (index / SUB_BUCKETS).saturating_sub(1);
    let leading = (index - SUB_BUCKETS * shift) as u64;
    ((leading + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_values_and_is_narrow() {
        let mut value = 1_u64;
        while value < 1 << 50 {
            for near in [value - 1, value, value + 1, value + value / 3] {
                let end = upper_end(bucket(near));
                assert!(end >= near, "{near} is above the end {end} of its bucket");
                assert!(end - near <= near / 64, "{near} is far below the end {end}");
            }
            value *= 2;
        }
    }

    #[test]
    fn buckets_follow_one_another_without_a_gap() {
        for index in 0..SUB_BUCKETS * 30 {
            assert_eq!(bucket(upper_end(index)), index);
            assert_eq!(bucket(upper_end(index) + 1), index + 1);
        }
    }

    #[test]
    fn quantiles_of_a_known_row() {
        let mut histogram = Histogram::default();
        for micros in 1..=1000 {
            histogram.record(Duration::from_micros(micros));
        }
        let near = |quantile, micros: u64| {
            let found = histogram.quantile(quantile).as_nanos() as f64 / 1000.0;
            assert!((found / micros as f64 - 1.0).abs() < 0.01, "{found} for {micros}");
        };
        near(0.5, 500);
        near(0.99, 990);
        near(1.0, 1000);
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
