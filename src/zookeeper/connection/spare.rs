//! Buffers that the connections of one thread use in turn: a connection that has nothing to hold holds
//! none, so that an idle one costs little, and a busy one finds its buffer in the processor's cache.

use std::cell::Cell;

use crate::limits;
use crate::zookeeper::pipeline::queue::Job;

thread_local! {
    static INPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUTPUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static JOBS: Cell<Vec<Job>> = const { Cell::new(Vec::new()) };
}

/// A buffer to read into, at its full length.
pub(super) fn input() -> Vec<u8> {
    let bytes = INPUT.take();
    if bytes.is_empty() { vec![0; limits::INPUT_BYTES_MIN] } else { bytes }
}

/// An input buffer has nothing more to hold.
pub(super) fn keep_input(bytes: Vec<u8>) {
    if bytes.len() <= limits::INPUT_BYTES_KEPT {
        INPUT.set(bytes);
    }
}

/// An empty buffer for what is to be sent.
pub(super) fn output() -> Vec<u8> {
    OUTPUT.take()
}

/// What an output buffer held is sent.
pub(super) fn keep_output(mut bytes: Vec<u8>) {
    if (1..=limits::OUTPUT_BYTES_KEPT).contains(&bytes.capacity()) {
        bytes.clear();
        OUTPUT.set(bytes);
    }
}

/// An empty list for requests on their way to the writer.
pub(super) fn jobs() -> Vec<Job> {
    JOBS.take()
}

/// Its requests are with the writer.
pub(super) fn keep_jobs(jobs: Vec<Job>) {
    debug_assert!(jobs.is_empty());
    JOBS.set(jobs);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_unless_it_is_large() {
        assert_eq!(input().len(), limits::INPUT_BYTES_MIN);
        keep_input(vec![0; limits::INPUT_BYTES_KEPT]);
        assert_eq!(input().len(), limits::INPUT_BYTES_KEPT);
        keep_input(vec![0; limits::INPUT_BYTES_KEPT + 1]);
        assert_eq!(input().len(), limits::INPUT_BYTES_MIN);

        let mut bytes = Vec::with_capacity(100);
        bytes.push(1);
        keep_output(bytes);
        let bytes = output();
        assert_eq!((bytes.len(), bytes.capacity()), (0, 100), "it is empty");
        keep_output(Vec::with_capacity(limits::OUTPUT_BYTES_KEPT + 1));
        assert_eq!(output().capacity(), 0);
    }
}
