//! Figures that many threads add to: how often, how much, the least, the greatest, and quantiles.

use std::sync::atomic::{AtomicU64, Ordering};

/// Count, sum, least and greatest of what was recorded (ZooKeeper's `AvgMinMaxCounter`).
#[derive(Debug)]
pub struct Summary {
    count: AtomicU64,
    sum: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

/// A [`Summary`] at one moment. `min` is 0 where nothing was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Figures {
    pub count: u64,
    pub sum: u64,
    pub min: u64,
    pub max: u64,
}

impl Figures {
    /// The mean; 0 where nothing was recorded.
    #[allow(clippy::cast_precision_loss, reason = "a mean that is shown to four digits")]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum as f64 / self.count as f64 }
    }

    /// These and others together.
    #[must_use]
    pub fn with(self, other: &Figures) -> Figures {
        let min = match (self.count, other.count) {
            (0, _) => other.min,
            (_, 0) => self.min,
            _ => self.min.min(other.min),
        };
        Figures {
            count: self.count + other.count,
            sum: self.sum.saturating_add(other.sum),
            min,
            max: self.max.max(other.max),
        }
    }

    /// Adds one value.
    pub fn add(&mut self, value: u64) {
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
    }
}

impl Default for Summary {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Summary { count: zero(), sum: zero(), min: AtomicU64::new(u64::MAX), max: zero() }
    }
}

impl Summary {
    /// Records `value`, `count` times.
    pub fn record(&self, value: u64, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
        self.sum.fetch_add(value.saturating_mul(count), Ordering::Relaxed);
        if value < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(value, Ordering::Relaxed);
        }
        if value > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(value, Ordering::Relaxed);
        }
    }

    /// What was recorded since the start, or the last reset.
    pub fn figures(&self) -> Figures {
        let count = self.count.load(Ordering::Relaxed);
        let min = self.min.load(Ordering::Relaxed);
        Figures {
            count,
            sum: self.sum.load(Ordering::Relaxed),
            min: if count == 0 || min == u64::MAX { 0 } else { min },
            max: self.max.load(Ordering::Relaxed),
        }
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.count.store(0, Ordering::Relaxed);
        self.sum.store(0, Ordering::Relaxed);
        self.min.store(u64::MAX, Ordering::Relaxed);
        self.max.store(0, Ordering::Relaxed);
    }
}

/// Eight buckets for each power of two up to 2^40: a quantile is at most an eighth too high.
const BUCKETS: usize = 8 + (40 - 3) * 8;

/// A [`Summary`] with quantiles (ZooKeeper's `AvgMinMaxPercentileCounter`), in memory that doesn't
/// grow.
#[derive(Debug)]
pub struct Distribution {
    summary: Summary,
    buckets: Box<[AtomicU64]>,
}

impl Default for Distribution {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Distribution { summary: Summary::default(), buckets }
    }
}

impl Distribution {
    /// Records `value`, `count` times.
    pub fn record(&self, value: u64, count: u64) {
        self.summary.record(value, count);
        if let Some(bucket) = self.buckets.get(bucket_of(value)) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// What was recorded since the start, or the last reset.
    pub fn figures(&self) -> Figures {
        self.summary.figures()
    }

    /// How many values fell into each bucket.
    pub fn counts(&self) -> Vec<u64> {
        self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect()
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.summary.reset();
        for bucket in &self.buckets {
            bucket.store(0, Ordering::Relaxed);
        }
    }
}

/// The value below which the part `quantile` (0 to 1) of the counted values lies; `None` where
/// nothing was counted.
pub fn quantile(counts: &[u64], quantile: f64) -> Option<u64> {
    let total: u64 = counts.iter().sum();
    if total == 0 {
        return None;
    }
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rank between 1 and the total"
    )]
    let rank = ((total as f64 * quantile).ceil() as u64).clamp(1, total);
    let mut seen = 0;
    let bucket = counts.iter().position(|count| {
        seen += count;
        seen >= rank
    });
    bucket.map(highest_of)
}

fn bucket_of(value: u64) -> usize {
    if value < 8 {
        return usize::try_from(value).unwrap_or(0);
    }
    let exponent = value.ilog2();
    let eighth = usize::try_from((value >> (exponent - 3)) & 7).unwrap_or(0);
    let bucket = 8 + (exponent as usize - 3) * 8 + eighth;
    bucket.min(BUCKETS - 1)
}

/// The greatest value of a bucket.
fn highest_of(bucket: usize) -> u64 {
    if bucket < 8 {
        return bucket as u64;
    }
    let (power, eighth) = ((bucket - 8) / 8, (bucket - 8) % 8);
    ((8 + eighth as u64 + 1) << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_starts_empty_and_can_be_reset() {
        let summary = Summary::default();
        assert_eq!(summary.figures(), Figures::default());
        summary.record(5, 2);
        summary.record(9, 1);
        let figures = Figures { count: 3, sum: 19, min: 5, max: 9 };
        assert_eq!(summary.figures(), figures);
        assert_eq!(figures.with(&Figures::default()), figures, "nothing has no least value");
        let more = Figures { count: 1, sum: 2, min: 2, max: 2 };
        let both = Figures { count: 4, sum: 21, min: 2, max: 9 };
        assert_eq!((figures.with(&more), more.with(&figures)), (both, both));
        summary.reset();
        assert_eq!(summary.figures(), Figures::default());
    }

    #[test]
    fn every_value_is_in_the_bucket_that_ends_at_or_above_it() {
        for value in (0..5_000).chain([1 << 20, (1 << 40) - 1]) {
            let bucket = bucket_of(value);
            assert!(highest_of(bucket) >= value, "{value}");
            assert!(bucket == 0 || highest_of(bucket - 1) < value, "{value}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_at_most_an_eighth_too_high() {
        let distribution = Distribution::default();
        assert_eq!(quantile(&distribution.counts(), 0.5), None);
        for value in 1..=1_000 {
            distribution.record(value, 1);
        }
        for (wanted, exact) in [(0.5, 500), (0.95, 950), (0.99, 990), (1.0, 1_000)] {
            let found = quantile(&distribution.counts(), wanted).unwrap();
            assert!((exact..=exact + exact / 8).contains(&found), "{wanted}: {found}");
        }
        distribution.reset();
        assert_eq!(quantile(&distribution.counts(), 0.5), None);
    }
}
