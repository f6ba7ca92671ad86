//! What consumers say of themselves when they join (`ConsumerProtocolSubscription`): the topics that
//! they read. Everything behind those is the assignors' own. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Buf;

/// The topics of a subscription; `None` if it is none.
pub fn topics(mut metadata: &[u8]) -> Option<BTreeSet<Arc<str>>> {
    let version = metadata.try_get_i16().ok()?;
    if version < 0 {
        return None;
    }
    let count = usize::try_from(metadata.try_get_i32().ok()?).ok()?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(metadata.try_get_i16().ok()?).ok()?;
        let (name, rest) = metadata.split_at_checked(length)?;
        topics.insert(Arc::from(std::str::from_utf8(name).ok()?));
        metadata = rest;
    }
    Some(topics)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_what_is_no_subscription_is_none() {
        let subscription = b"\0\x01\0\0\0\x02\0\x01a\0\x02bc\xff\xff\xff\xff\0\0\0\0";
        let names: Vec<Arc<str>> = topics(subscription).unwrap().into_iter().collect();
        assert_eq!(names, [Arc::from("a"), Arc::from("bc")]);
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(BTreeSet::new()));
        for end in 0..13 {
            assert_eq!(topics(&subscription[..end]), None, "cut at {end}");
        }
        assert_eq!(topics(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff"), None);
    }
}
