//! The bytes that a client has sent and that have not been taken yet.

use super::spare;

/// A buffer that grows with the frame in it, as its bytes arrive and not before. Without anything in it
/// there is none, once [`Input::rest`] was called.
#[derive(Debug, Default)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

/// What is at the front of the input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Front {
    /// A whole frame, without its length: this range of [`Input::slice`].
    Frame(std::ops::Range<usize>),
    /// Not enough bytes for anything.
    Incomplete,
    /// A length that no request may have.
    BadLength(i32),
}

impl Input {
    /// What has arrived and not been taken.
    pub(super) fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Looks for a whole frame of at most `max` bytes.
    pub(super) fn front(&self, max: usize) -> Front {
        let Some((length, rest)) = self.pending().split_first_chunk::<4>() else {
            return Front::Incomplete;
        };
        let length = i32::from_be_bytes(*length);
        match usize::try_from(length) {
            Ok(frame) if frame > max => Front::BadLength(length),
            Ok(frame) if frame <= rest.len() => {
                Front::Frame(self.start + 4..self.start + 4 + frame)
            }
            Ok(_) => Front::Incomplete,
            Err(_) => Front::BadLength(length),
        }
    }

    /// The length of the frame at the front, if it has not arrived whole.
    pub(super) fn missing(&self) -> Option<usize> {
        let (length, rest) = self.pending().split_first_chunk::<4>()?;
        usize::try_from(i32::from_be_bytes(*length)).ok().filter(|length| *length > rest.len())
    }

    /// The bytes of a frame that was found.
    pub(super) fn slice(&self, frame: std::ops::Range<usize>) -> &[u8] {
        &self.bytes[frame]
    }

    /// Everything up to the end of this frame is taken.
    pub(super) fn take_to(&mut self, end: usize) {
        self.start = end;
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for more bytes: at least one.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = spare::input();
        }
        if self.end == self.bytes.len() {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        &mut self.bytes[self.end..]
    }

    /// Nothing more comes for now: an empty buffer is left to others.
    pub(super) fn rest(&mut self) {
        if self.start == self.end && !self.bytes.is_empty() {
            spare::keep_input(std::mem::take(&mut self.bytes));
        }
    }

    /// So many bytes were put into the room.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    fn feed(input: &mut Input, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = input.room();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            input.filled(count);
            bytes = &bytes[count..];
        }
    }

    fn take(input: &mut Input) -> Option<Vec<u8>> {
        match input.front(usize::MAX) {
            Front::Frame(frame) => {
                let bytes = input.slice(frame.clone()).to_vec();
                input.take_to(frame.end);
                Some(bytes)
            }
            _ => None,
        }
    }

    #[test]
    fn frames_come_out_however_they_went_in() {
        let mut sent = Vec::new();
        let frames: Vec<Vec<u8>> =
            [0, 1, 100, 9_000, 70_000, 3].into_iter().map(|n| vec![7; n]).collect();
        for frame in &frames {
            sent.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
            sent.extend_from_slice(frame);
        }
        for step in [1, 3, 4_096, sent.len()] {
            let mut input = Input::default();
            let mut got = Vec::new();
            for part in sent.chunks(step) {
                feed(&mut input, part);
                while let Some(frame) = take(&mut input) {
                    got.push(frame);
                }
            }
            assert_eq!(got, frames, "in steps of {step}");
            assert!(!input.bytes.is_empty());
            input.rest();
            assert!(input.bytes.is_empty(), "it holds nothing");
            assert!(input.room().len() <= limits::INPUT_BYTES_KEPT, "it shrinks");
        }
    }

    #[test]
    fn a_length_alone_reserves_nothing() {
        let mut input = Input::default();
        feed(&mut input, &[0x00, 0x0f, 0xff, 0xff, 1]);
        assert_eq!(input.front(0xf_ffff), Front::Incomplete);
        assert_eq!(input.front(0xf_fffe), Front::BadLength(0xf_ffff));
        assert_eq!(input.missing(), Some(0xf_ffff));
        assert_eq!(input.bytes.len(), limits::INPUT_BYTES_MIN);
        let mut input = Input::default();
        feed(&mut input, &[0xff; 4]);
        assert_eq!(input.front(10), Front::BadLength(-1));
    }
}
