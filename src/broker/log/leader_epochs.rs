//! Which leader epoch began at which offset (KIP-101), for one log.

/// Leader epochs in ascending order, each with the offset of its first record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct LeaderEpochs {
    entries: Vec<(i32, i64)>,
}

impl LeaderEpochs {
    /// Takes what a checkpoint says, dropping what is out of order.
    pub(super) fn from_checkpoint(entries: Vec<(i32, i64)>) -> Self {
        let mut epochs = LeaderEpochs::default();
        for (epoch, start_offset) in entries {
            epochs.assign(epoch, start_offset);
        }
        epochs
    }

    pub(super) fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    pub(super) fn latest(&self) -> Option<i32> {
        self.entries.last().map(|entry| entry.0)
    }

    /// Notes that `epoch` begins at `start_offset`; `true` if that was news. Epochs that were
    /// noted for this offset or a later one had no records and go.
    pub(super) fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| latest >= epoch) {
            return false;
        }
        while self.entries.last().is_some_and(|entry| entry.1 >= start_offset) {
            self.entries.pop();
        }
        self.entries.push((epoch, start_offset));
        true
    }

    /// Forgets epochs that begin at `end_offset` or later; `true` if there were any.
    pub(super) fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.1 < end_offset);
        self.entries.len() != before
    }

    /// Forgets epochs that end at `start_offset` or before, and lets the one that holds it begin
    /// there; `true` if anything changed.
    pub(super) fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let held = self.entries.partition_point(|entry| entry.1 <= start_offset);
        let Some(keep) = held.checked_sub(1) else { return false };
        let changed = keep > 0 || self.entries.first().is_some_and(|e| e.1 != start_offset);
        self.entries.drain(..keep);
        if let Some(first) = self.entries.first_mut() {
            first.1 = start_offset;
        }
        changed
    }

    /// The epoch of the record at `offset`.
    pub(super) fn epoch_at(&self, offset: i64) -> Option<i32> {
        let held = self.entries.partition_point(|entry| entry.1 <= offset);
        self.entries.get(held.checked_sub(1)?).map(|entry| entry.0)
    }

    /// The largest epoch up to `epoch`, and where it ends. For one before the first known: itself
    /// and the first known offset. `None` for one after the last.
    pub(super) fn end_offset(&self, epoch: i32, log_end_offset: i64) -> Option<(i32, i64)> {
        if epoch < 0 {
            return None;
        }
        if self.latest() == Some(epoch) {
            return Some((epoch, log_end_offset));
        }
        let above = self.entries.partition_point(|entry| entry.0 <= epoch);
        let (_, end) = *self.entries.get(above)?;
        let floor = above.checked_sub(1).and_then(|below| self.entries.get(below));
        Some((floor.map_or(epoch, |entry| entry.0), end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_where_the_next_begins() {
        let epochs = LeaderEpochs::from_checkpoint(vec![(1, 0), (3, 10), (4, 25)]);
        assert_eq!(epochs.end_offset(0, 40), Some((0, 0)));
        assert_eq!(epochs.end_offset(1, 40), Some((1, 10)));
        assert_eq!(epochs.end_offset(2, 40), Some((1, 10)));
        assert_eq!(epochs.end_offset(3, 40), Some((3, 25)));
        assert_eq!(epochs.end_offset(4, 40), Some((4, 40)));
        assert_eq!(epochs.end_offset(5, 40), None);
        assert_eq!(epochs.end_offset(-1, 40), None);
        assert_eq!(LeaderEpochs::default().end_offset(0, 0), None);
    }

    #[test]
    fn an_epoch_without_records_is_replaced() {
        let mut epochs = LeaderEpochs::from_checkpoint(vec![(1, 0), (2, 10)]);
        assert!(!epochs.assign(2, 12), "an epoch begins once");
        assert!(!epochs.assign(1, 12), "epochs only grow");
        assert!(epochs.assign(5, 10));
        assert_eq!(epochs.entries(), [(1, 0), (5, 10)]);
    }

    #[test]
    fn both_ends_can_be_cut() {
        let mut epochs = LeaderEpochs::from_checkpoint(vec![(1, 0), (3, 10), (4, 25)]);
        assert!(epochs.truncate_from_end(25));
        assert!(!epochs.truncate_from_end(25));
        assert!(epochs.truncate_from_start(12));
        assert_eq!(epochs.entries(), [(3, 12)]);
        assert!(!epochs.truncate_from_start(12));
        assert_eq!(epochs.epoch_at(11), None);
        assert_eq!(epochs.epoch_at(12), Some(3));
    }
}
