//! How many connections may open a session: a bucket of tokens that fills with time, and refusals
//! at random before it is empty, so that under a constant load not always the same clients lose
//! (ZooKeeper's `BlueThrottle`).

use crate::config::ThrottleConfig;

/// The state of the bucket.
#[derive(Debug)]
pub struct Throttle {
    config: ThrottleConfig,
    tokens: u64,
    filled_ms: u64,
    adjusted_ms: u64,
    /// The probability of a refusal.
    drop: f64,
}

impl Throttle {
    /// A full bucket.
    pub fn new(config: ThrottleConfig, now_ms: u64) -> Self {
        Throttle {
            tokens: config.tokens,
            filled_ms: now_ms,
            adjusted_ms: now_ms,
            drop: 0.0,
            config,
        }
    }

    /// Whether a client may open a session (`renew`: take one up again); `random` is from 0 to 1.
    pub fn admit(&mut self, renew: bool, now_ms: u64, random: f64) -> bool {
        let need = match self.config.weights {
            None => 1,
            Some((_, weight)) if renew => weight,
            Some((weight, _)) => weight,
        };
        let elapsed = now_ms.saturating_sub(self.filled_ms);
        if elapsed > self.config.fill_time_ms {
            let more =
                elapsed.saturating_mul(self.config.fill_count) / self.config.fill_time_ms.max(1);
            self.tokens = self.tokens.saturating_add(more).min(self.config.tokens);
            self.filled_ms = now_ms;
        }
        if let Some(freeze_time_ms) = self.config.freeze_time_ms {
            self.adjust(freeze_time_ms, now_ms);
            if random < self.drop {
                return false;
            }
        }
        if self.tokens < need {
            return false;
        }
        self.tokens -= need;
        true
    }

    /// The tokens that are missing from a full bucket.
    pub fn deficit(&self) -> u64 {
        self.config.tokens - self.tokens
    }

    /// The probability with which a client is refused at random.
    pub fn drop_probability(&self) -> f64 {
        self.drop
    }

    /// An empty bucket raises the probability, a nearly full one lowers it.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a number of tokens"
    )]
    fn adjust(&mut self, freeze_time_ms: u64, now_ms: u64) {
        if now_ms.saturating_sub(self.adjusted_ms) <= freeze_time_ms {
            return;
        }
        let missing = self.config.tokens - self.tokens;
        let few = (self.config.tokens as f64 * self.config.decrease_ratio).round() as u64;
        if self.tokens == 0 {
            self.drop = (self.drop + self.config.drop_increase).min(1.0);
        } else if missing <= few {
            self.drop = (self.drop - self.config.drop_decrease).max(0.0);
        }
        self.adjusted_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(tokens: u64) -> ThrottleConfig {
        ThrottleConfig {
            tokens,
            fill_time_ms: 100,
            fill_count: 2,
            freeze_time_ms: None,
            drop_increase: 0.25,
            drop_decrease: 0.1,
            decrease_ratio: 0.5,
            weights: None,
        }
    }

    #[test]
    fn a_burst_is_served_and_then_as_many_as_the_bucket_fills() {
        let mut throttle = Throttle::new(config(3), 0);
        let mut admitted =
            |now_ms: u64| (0..10).filter(|_| throttle.admit(false, now_ms, 0.9)).count();
        assert_eq!(admitted(0), 3);
        assert_eq!(admitted(100), 0, "only after the time");
        assert_eq!(admitted(101), 2);
        assert_eq!(admitted(1_000_000), 3, "never more than the bucket holds");
    }

    #[test]
    fn sessions_have_weights() {
        let mut throttle = Throttle::new(ThrottleConfig { weights: Some((3, 2)), ..config(7) }, 0);
        assert!(throttle.admit(false, 0, 0.9));
        assert!(throttle.admit(true, 0, 0.9));
        assert!(throttle.admit(true, 0, 0.9));
        assert_eq!(throttle.deficit(), 7);
        assert!(!throttle.admit(false, 0, 0.9));
    }

    #[test]
    fn an_empty_bucket_makes_refusals_likely_and_a_full_one_unlikely() {
        let frozen = ThrottleConfig { freeze_time_ms: Some(10), ..config(1) };
        let mut throttle = Throttle::new(frozen, 0);
        assert!(throttle.admit(false, 0, 0.0), "none is refused at first");
        for (now_ms, expected) in
            [(11, 0.25), (12, 0.25), (22, 0.5), (33, 0.75), (44, 1.0), (55, 1.0)]
        {
            throttle.admit(false, now_ms, 0.0);
            assert!((throttle.drop_probability() - expected).abs() < 1e-9, "at {now_ms}");
        }
        throttle.admit(false, 1_000, 0.0);
        assert!((throttle.drop_probability() - 0.9).abs() < 1e-9);
        assert!(!throttle.admit(false, 1_001, 0.89), "refused at random");
        assert!(throttle.admit(false, 1_002, 0.95));
    }
}
