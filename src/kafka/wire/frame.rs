//! Frames: four bytes of length, then so many bytes.

use bytes::{Buf, Bytes, BytesMut};

/// The bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// Why a frame was refused; its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// The length is zero or negative.
    #[error("a frame of length {0}")]
    Empty(i32),
    /// The length is above `socket.request.max.bytes`.
    #[error("a frame of {length} bytes, above socket.request.max.bytes={max}")]
    TooLong {
        /// What the frame says.
        length: usize,
        /// What is allowed.
        max: usize,
    },
}

/// Takes the first frame out of `input`, without its length, once all of it is there.
///
/// The length is checked as soon as it is there; nothing is reserved for it.
pub fn take(input: &mut BytesMut, max: usize) -> Result<Option<Bytes>, BadFrame> {
    let Some(length) = input.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let wanted = match usize::try_from(length) {
        Ok(0) | Err(_) => return Err(BadFrame::Empty(length)),
        Ok(wanted) if wanted > max => return Err(BadFrame::TooLong { length: wanted, max }),
        Ok(wanted) => wanted,
    };
    if input.len() < LENGTH_BYTES + wanted {
        return Ok(None);
    }
    input.advance(LENGTH_BYTES);
    Ok(Some(input.split_to(wanted).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_it_is_whole() {
        let mut input = BytesMut::new();
        for byte in [0, 0, 0, 2, 7] {
            input.extend_from_slice(&[byte]);
            assert_eq!(take(&mut input, 2), Ok(None));
        }
        input.extend_from_slice(&[8, 0]);
        assert_eq!(take(&mut input, 2), Ok(Some(Bytes::from_static(&[7, 8]))));
        assert_eq!(&input[..], &[0]);
    }

    #[test]
    fn the_length_is_bounded_at_the_byte() {
        let framed = |length: i32| {
            let mut input = BytesMut::from(&length.to_be_bytes()[..]);
            take(&mut input, 100)
        };
        assert_eq!(framed(1), Ok(None));
        assert_eq!(framed(100), Ok(None));
        assert_eq!(framed(101), Err(BadFrame::TooLong { length: 101, max: 100 }));
        assert_eq!(framed(0), Err(BadFrame::Empty(0)));
        assert_eq!(framed(-1), Err(BadFrame::Empty(-1)));
        assert_eq!(framed(i32::MIN), Err(BadFrame::Empty(i32::MIN)));
    }
}
