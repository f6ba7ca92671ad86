//! Rates as token buckets: so much in a second, and a second's worth at once.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// What one party may still take. It may take more than there is, and then waits until the debt is
/// paid off: so whoever is waited for is served in the end, and the rate holds over time (pure).
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: u32, now: Instant) -> Bucket {
        Bucket { level: f64::from(rate), at: now }
    }

    fn level(&self, rate: u32, now: Instant) -> f64 {
        let rate = f64::from(rate);
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        (self.level + gained).min(rate)
    }

    /// Takes one.
    pub fn take(&mut self, rate: u32, now: Instant) {
        self.level = self.level(rate, now) - 1.0;
        self.at = now;
    }

    /// How long it is until something may be taken; zero where it may be at once.
    pub fn wait(&self, rate: u32, now: Instant) -> Duration {
        let debt = -self.level(rate, now);
        if debt <= 0.0 || rate == 0 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(debt / f64::from(rate)).unwrap_or(Duration::MAX)
    }

    /// Whether it is as a new one would be.
    pub fn is_full(&self, rate: u32, now: Instant) -> bool {
        self.level(rate, now) >= f64::from(rate)
    }
}

/// A rate that many share, and that may be changed.
#[derive(Debug)]
pub struct Rate {
    /// A second; `u32::MAX` is no limit.
    rate: AtomicU32,
    bucket: Mutex<Option<Bucket>>,
}

impl Rate {
    /// `None` is no limit.
    pub fn new(rate: Option<u32>) -> Rate {
        Rate { rate: AtomicU32::new(rate.unwrap_or(u32::MAX)), bucket: Mutex::new(None) }
    }

    /// Changes it.
    pub fn set(&self, rate: Option<u32>) {
        self.rate.store(rate.unwrap_or(u32::MAX), Ordering::Relaxed);
    }

    /// Takes one, and says how long to wait before the next.
    pub fn take(&self, now: Instant) -> Duration {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == u32::MAX {
            return Duration::ZERO;
        }
        let mut bucket = self.bucket.lock();
        let bucket = bucket.get_or_insert_with(|| Bucket::new(rate, now));
        bucket.take(rate, now);
        bucket.wait(rate, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holds_so_much_and_what_is_more_waits() {
        let begun = Instant::now();
        let mut bucket = Bucket::new(10, begun);
        for _ in 0..10 {
            assert_eq!(bucket.wait(10, begun), Duration::ZERO);
            bucket.take(10, begun);
        }
        assert_eq!(bucket.wait(10, begun), Duration::ZERO, "there is nothing left, and no debt");
        bucket.take(10, begun);
        assert_eq!(bucket.wait(10, begun), Duration::from_millis(100));
        let later = begun + Duration::from_millis(60);
        assert!(bucket.wait(10, later) <= Duration::from_millis(41));
        assert!(!bucket.is_full(10, later));
        let much_later = begun + Duration::from_secs(60);
        assert!(bucket.is_full(10, much_later), "what is not taken is not saved up");
        assert_eq!(bucket.wait(10, much_later), Duration::ZERO);
    }

    #[test]
    fn over_a_long_time_the_rate_is_kept() {
        let begun = Instant::now();
        let rate = Rate::new(Some(50));
        let mut now = begun;
        for _ in 0..550 {
            now += rate.take(now);
        }
        let took = now - begun;
        assert!(
            took > Duration::from_millis(9_900) && took < Duration::from_millis(10_100),
            "{took:?}"
        );
        rate.set(None);
        assert_eq!(rate.take(now), Duration::ZERO);
    }
}
