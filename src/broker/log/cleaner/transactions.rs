//! What compaction knows of transactions while it walks over a log (Kafka's
//! `CleanedTransactionMetadata`): which batches were aborted, and which markers nobody needs.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use crate::broker::log::AbortedTransaction;
use crate::kafka::record_batch::{BatchHeader, ControlRecord};

/// An aborted transaction between its first record and its marker.
#[derive(Debug)]
struct Ongoing {
    transaction: AbortedTransaction,
    /// Some of its records are still there.
    seen: bool,
}

/// The transactions at one place of a walk.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    committed: HashSet<i64>,
    aborted: HashMap<i64, Ongoing>,
    /// Those that begin further on.
    waiting: BinaryHeap<Reverse<AbortedTransaction>>,
    /// Aborted ones whose marker was passed while some of their records are still there: what the
    /// index of the cleaned segment is made of.
    pub(super) kept: Vec<AbortedTransaction>,
}

impl Transactions {
    /// Takes note of the aborted transactions of the part of the log that comes next.
    pub(super) fn expect(&mut self, aborted: Vec<AbortedTransaction>) {
        self.waiting.extend(aborted.into_iter().map(Reverse));
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(Reverse(next)) = self.waiting.peek()
            && next.first_offset <= offset
        {
            let transaction = *next;
            self.waiting.pop();
            // One that reaches over several segments is named by each of them.
            self.aborted
                .entry(transaction.producer_id)
                .or_insert(Ongoing { transaction, seen: false });
        }
    }

    /// Passes a batch of records; `true` if it was aborted.
    pub(super) fn batch(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        if let Some(ongoing) = self.aborted.get_mut(&header.producer_id) {
            ongoing.seen = true;
            return true;
        }
        self.committed.insert(header.producer_id);
        false
    }

    /// Passes a control batch; `true` if no record of its transaction is left.
    pub(super) fn control(&mut self, header: &BatchHeader, record: Option<ControlRecord>) -> bool {
        self.begin_up_to(header.last_offset());
        match record {
            Some(ControlRecord::EndTransaction { committed: true, .. }) => {
                !self.committed.remove(&header.producer_id)
            }
            Some(ControlRecord::EndTransaction { committed: false, .. }) => {
                match self.aborted.remove(&header.producer_id) {
                    Some(ongoing) if ongoing.seen => {
                        self.kept.push(ongoing.transaction);
                        false
                    }
                    _ => true,
                }
            }
            Some(ControlRecord::Other) => false,
            // It was emptied before.
            None => true,
        }
    }
}
