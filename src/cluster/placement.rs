//! Which brokers get a new partition's replicas (pure), as Kafka's `AdminUtils` spreads them.
//!
//! Random numbers come in as arguments: `start` is where the first partition's first replica goes,
//! `shift` by how much the followers are moved against it.

use std::collections::BTreeMap;

/// Spreads `count` partitions from number `first` on over `brokers`, which are in the order of
/// their ids and live in no rack, or not all of them in one.
///
/// First replicas go round robin; each turn through the brokers moves the followers by one more.
/// `replicas` must be at least 1 and at most the number of brokers, else there is nothing to place.
pub fn spread(
    brokers: &[i32],
    first: i32,
    count: i32,
    replicas: usize,
    start: usize,
    shift: usize,
) -> BTreeMap<i32, Vec<i32>> {
    let mut placed = BTreeMap::new();
    let n = brokers.len();
    if n == 0 || replicas == 0 || replicas > n {
        return placed;
    }
    let mut shift = shift;
    for partition in first..first.saturating_add(count) {
        let number = usize::try_from(partition).unwrap_or_default();
        if number > 0 && number % n == 0 {
            shift += 1;
        }
        let leader = (number + start % n) % n;
        let mut chosen = vec![brokers[leader]];
        chosen.extend((0..replicas - 1).map(|follower| {
            let moved = 1 + (shift + follower) % (n - 1);
            brokers[(leader + moved) % n]
        }));
        placed.insert(partition, chosen);
    }
    placed
}

/// Brokers in the order in which racks take turns, if every broker has a rack: so neighbours in the
/// list are in different racks. Else in the order of their ids.
pub fn order(brokers: &BTreeMap<i32, Option<String>>) -> Vec<i32> {
    let mut racks: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (id, rack) in brokers {
        match rack {
            Some(rack) => racks.entry(rack).or_default().push(*id),
            None => return brokers.keys().copied().collect(),
        }
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or_default();
    (0..longest)
        .flat_map(|turn| racks.values().filter_map(move |ids| ids.get(turn).copied()))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_the_example_in_kafkas_admin_utils() {
        let placed = spread(&[0, 1, 2, 3, 4], 0, 10, 3, 0, 0);
        let expected = [
            [0, 1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 0],
            [4, 0, 1],
            [0, 2, 3],
            [1, 3, 4],
            [2, 4, 0],
            [3, 0, 1],
            [4, 1, 2],
        ];
        let placed: Vec<_> = placed.into_values().collect();
        assert_eq!(placed, expected);
    }

    #[test]
    fn nothing_to_place() {
        assert!(spread(&[], 0, 1, 1, 0, 0).is_empty());
        assert!(spread(&[1], 0, 1, 2, 0, 0).is_empty());
        assert!(spread(&[1], 0, 1, 0, 0, 0).is_empty());
    }

    #[test]
    fn racks_take_turns() {
        let rack = |name: &str| Some(name.to_owned());
        let brokers = [(0, rack("a")), (1, rack("a")), (2, rack("b")), (3, rack("c"))];
        assert_eq!(order(&brokers.into()), [0, 2, 3, 1]);
        assert_eq!(order(&[(5, None), (3, rack("a"))].into()), [3, 5]);
    }

    proptest! {
        #[test]
        fn replicas_differ_and_leaders_are_even(
            n in 1usize..8,
            count in 1i32..40,
            start: u16,
            shift: u16,
            replicas in 1usize..8,
        ) {
            prop_assume!(replicas <= n);
            let brokers: Vec<i32> = (0..i32::try_from(n).unwrap()).collect();
            let placed = spread(&brokers, 0, count, replicas, start.into(), shift.into());
            prop_assert_eq!(placed.len(), usize::try_from(count).unwrap());
            let mut leads = vec![0usize; n];
            for chosen in placed.values() {
                prop_assert_eq!(chosen.iter().collect::<BTreeSet<_>>().len(), replicas);
                leads[usize::try_from(chosen[0]).unwrap()] += 1;
            }
            let most = leads.iter().max().unwrap();
            let least = leads.iter().min().unwrap();
            prop_assert!(most - least <= 1);
        }
    }
}
