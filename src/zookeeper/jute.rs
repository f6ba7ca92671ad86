//! Jute, ZooKeeper's serialization: big-endian integers, length-prefixed buffers, strings and vectors.
//!
//! The same encoding is used on the wire, in the transaction log and in snapshots. A [`Reader`] never
//! trusts a length: it is checked against the bytes that remain before anything is made from it.

use std::borrow::Cow;

use bytes::BufMut;

/// Why bytes are not the record that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JuteError {
    /// The record goes on, the bytes do not.
    #[error("{needed} bytes needed, {remaining} left")]
    Truncated {
        /// How many bytes the next value takes.
        needed: usize,
        /// How many there are.
        remaining: usize,
    },
    /// A length below -1 (-1 is null).
    #[error("negative length {0}")]
    NegativeLength(i32),
    /// Null where the record has no place for it.
    #[error("null {0}")]
    Null(&'static str),
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// A value that the record cannot hold.
    #[error("invalid {0}")]
    Invalid(&'static str),
}

/// Reads jute values from a slice, front to back.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the first of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, position: 0 }
    }

    /// How many bytes have been read.
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Whether all bytes have been read.
    pub fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// The bytes that are left, unread.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// The next `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], JuteError> {
        let remaining = self.remaining();
        if count > remaining {
            return Err(JuteError::Truncated { needed: count, remaining });
        }
        let start = self.position;
        self.position += count;
        Ok(&self.bytes[start..self.position])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], JuteError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    /// A boolean: one byte, true unless zero.
    pub fn bool(&mut self) -> Result<bool, JuteError> {
        Ok(self.array::<1>()?[0] != 0)
    }

    /// A 32-bit integer.
    pub fn int(&mut self) -> Result<i32, JuteError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    pub fn long(&mut self) -> Result<i64, JuteError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A buffer: `None` is null.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, JuteError> {
        match self.length()? {
            None => Ok(None),
            Some(length) => self.bytes(length).map(Some),
        }
    }

    /// A string: `None` is null.
    pub fn string(&mut self) -> Result<Option<&'a str>, JuteError> {
        match self.buffer()? {
            None => Ok(None),
            Some(bytes) => std::str::from_utf8(bytes).map(Some).map_err(|_| JuteError::NotUtf8),
        }
    }

    /// A string that must not be null; `name` says which one in the error.
    pub fn required_string(&mut self, name: &'static str) -> Result<&'a str, JuteError> {
        self.string()?.ok_or(JuteError::Null(name))
    }

    /// A string as Java decodes it, which replaces what is not UTF-8. Its own encoder writes characters
    /// beyond the basic plane as surrogates, so files on disk may hold such strings.
    pub fn lossy_string(&mut self, name: &'static str) -> Result<Cow<'a, str>, JuteError> {
        let bytes = self.buffer()?.ok_or(JuteError::Null(name))?;
        // Nearly all are right, and looked at more quickly so.
        Ok(std::str::from_utf8(bytes)
            .map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed))
    }

    /// The number of items in a vector, `None` for null. `item_min` is the fewest bytes that one item
    /// takes: a count that the remaining bytes cannot hold is an error.
    pub fn vector(&mut self, item_min: usize) -> Result<Option<usize>, JuteError> {
        let Some(count) = self.length()? else { return Ok(None) };
        let needed = count.saturating_mul(item_min.max(1));
        if needed > self.remaining() {
            return Err(JuteError::Truncated { needed, remaining: self.remaining() });
        }
        Ok(Some(count))
    }

    fn length(&mut self) -> Result<Option<usize>, JuteError> {
        match self.int()? {
            -1 => Ok(None),
            length => {
                usize::try_from(length).map(Some).map_err(|_| JuteError::NegativeLength(length))
            }
        }
    }
}

/// Writes jute values to the end of a buffer.
pub trait Writer: BufMut {
    /// A boolean.
    fn write_bool(&mut self, value: bool) {
        self.put_u8(u8::from(value));
    }

    /// A 32-bit integer.
    fn write_int(&mut self, value: i32) {
        self.put_i32(value);
    }

    /// A 64-bit integer.
    fn write_long(&mut self, value: i64) {
        self.put_i64(value);
    }

    /// A buffer: `None` is null.
    fn write_buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.put_i32(-1),
            Some(bytes) => {
                self.write_count(bytes.len());
                self.put_slice(bytes);
            }
        }
    }

    /// A string.
    fn write_string(&mut self, value: &str) {
        self.write_buffer(Some(value.as_bytes()));
    }

    /// The length of what follows. Nothing that is written here is ever 2 GiB long: requests are
    /// bounded by `jute.maxbuffer`.
    fn write_count(&mut self, count: usize) {
        self.put_i32(i32::try_from(count).unwrap_or(i32::MAX));
    }
}

impl<B: BufMut> Writer for B {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let mut bytes = Vec::new();
        bytes.write_bool(true);
        bytes.write_int(-7);
        bytes.write_long(i64::MIN);
        bytes.write_buffer(None);
        bytes.write_buffer(Some(b""));
        bytes.write_string("añ");
        let mut reader = Reader::new(&bytes);
        assert!(reader.bool().unwrap());
        assert_eq!(reader.int(), Ok(-7));
        assert_eq!(reader.long(), Ok(i64::MIN));
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&b""[..])));
        assert_eq!(reader.string(), Ok(Some("añ")));
        assert!(reader.is_empty());
    }

    #[test]
    fn lengths_are_not_trusted() {
        assert_eq!(
            Reader::new(&[0x7f, 0xff, 0xff, 0xff, 1]).buffer(),
            Err(JuteError::Truncated { needed: 0x7fff_ffff, remaining: 1 })
        );
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xfe]).string(),
            Err(JuteError::NegativeLength(-2))
        );
        assert!(Reader::new(&[0, 0, 0, 3, 0, 0]).vector(1).is_err());
        assert_eq!(Reader::new(&[0, 0, 0, 2, 0, 0]).vector(1), Ok(Some(2)));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff]).string(), Err(JuteError::NotUtf8));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 0xff]).lossy_string("x").unwrap(), "\u{fffd}");
    }
}
