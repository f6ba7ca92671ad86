//! The guard: walks a request body against its [`Schema`] before a decoder reserves memory for it.
//!
//! A decoder that believes a count reserves memory for it; a five-byte body can so ask for more
//! than any machine has, which ends the process. What the guard passes has only lengths that its
//! bytes can hold, nulls only where the protocol allows them, UTF-8 text, and no more elements
//! in all than [`limits::KAFKA_REQUEST_ELEMENTS_MAX`]. Bytes behind the last field are ignored,
//! as Kafka does. The walk allocates nothing and goes no deeper than the schema.

use super::schema::{Field, Kind, Schema};
use crate::limits;

/// Why a body was refused; goes to the log only, since its connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The body ends inside a field.
    #[error("the body ends inside a field")]
    Truncated,
    /// A length or a count is negative or above what the bytes can hold.
    #[error("a length is negative or above what the bytes can hold")]
    Length,
    /// A null stands where none is allowed.
    #[error("a null where none is allowed")]
    Null,
    /// Text is not UTF-8.
    #[error("text is not UTF-8")]
    Utf8,
    /// A variable-length integer is longer than five bytes.
    #[error("a variable-length integer is too long")]
    VarInt,
    /// A tagged field is repeated, of another version, or longer or shorter than its content.
    #[error("a tagged field is repeated, of another version, or does not fit its length")]
    Tag,
    /// More elements or unknown tagged fields than any client sends.
    #[error("too many elements")]
    Elements,
}

/// Checks the body of a request in `version`.
pub fn check(schema: &Schema, version: i16, body: &[u8]) -> Result<(), Refused> {
    check_within(schema, version, body, limits::KAFKA_REQUEST_ELEMENTS_MAX)
}

/// Checks the body of an answer in `version`, which may have more elements than a request.
pub fn check_answer(schema: &Schema, version: i16, body: &[u8]) -> Result<(), Refused> {
    check_within(schema, version, body, limits::KAFKA_ANSWER_ELEMENTS_MAX)
}

fn check_within(
    schema: &Schema,
    version: i16,
    body: &[u8],
    elements: usize,
) -> Result<(), Refused> {
    let mut walk = Walk {
        rest: body,
        version,
        flexible: version >= schema.flexible,
        elements,
        unknown_tags: limits::KAFKA_UNKNOWN_TAGS_MAX,
    };
    walk.structure(schema.fields)
}

/// The length of the tagged fields at the start of `bytes`, all of which are skipped: for
/// request headers, which have no known ones.
pub fn skip_tagged_fields(bytes: &[u8]) -> Result<usize, Refused> {
    let mut walk = Walk {
        rest: bytes,
        version: 0,
        flexible: true,
        elements: 0,
        unknown_tags: limits::KAFKA_UNKNOWN_TAGS_MAX,
    };
    walk.tagged(&[])?;
    Ok(bytes.len() - walk.rest.len())
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
    unknown_tags: usize,
}

impl<'a> Walk<'a> {
    fn structure(&mut self, fields: &[Field]) -> Result<(), Refused> {
        for field in fields.iter().filter(|field| field.tag.is_none()) {
            if field.exists(self.version) {
                self.value(&field.kind, self.version >= field.nullable)?;
            }
        }
        if self.flexible { self.tagged(fields) } else { Ok(()) }
    }

    fn value(&mut self, kind: &Kind, nullable: bool) -> Result<(), Refused> {
        match kind {
            Kind::Fixed(length) => self.take(*length).map(drop),
            Kind::Text => match self.text_length()? {
                Some(length) => {
                    let text = self.take(length)?;
                    std::str::from_utf8(text).map(drop).map_err(|_| Refused::Utf8)
                }
                None => null(nullable),
            },
            Kind::Blob => match self.count()? {
                Some(length) => self.take(length).map(drop),
                None => null(nullable),
            },
            Kind::Array(items) => match self.count()? {
                Some(count) => self.items(items, count),
                None => null(nullable),
            },
            // A structure that may be null has a byte before it that says whether it is there.
            Kind::Struct(fields) if nullable => match self.take(1)?.first() {
                Some(1) => self.structure(fields),
                Some(0xff) => Ok(()),
                _ => Err(Refused::Null),
            },
            Kind::Struct(fields) => self.structure(fields),
        }
    }

    fn items(&mut self, items: &Kind, count: usize) -> Result<(), Refused> {
        if count > self.rest.len() / smallest(items, self.version, self.flexible) {
            return Err(Refused::Length);
        }
        self.elements = self.elements.checked_sub(count).ok_or(Refused::Elements)?;
        if let Kind::Fixed(length) = items {
            return self.take(count * length).map(drop);
        }
        for _ in 0..count {
            self.value(items, false)?;
        }
        Ok(())
    }

    fn tagged(&mut self, fields: &[Field]) -> Result<(), Refused> {
        let count = self.unsigned_varint()? as usize;
        let mut last = None;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if last.is_some_and(|last| tag <= last) {
                return Err(Refused::Tag);
            }
            last = Some(tag);
            let length = self.unsigned_varint()? as usize;
            let content = self.take(length)?;
            let known = fields.iter().find(|field| field.tag == Some(tag));
            if let Some(field) = known {
                if !field.exists(self.version) {
                    return Err(Refused::Tag);
                }
                let after = std::mem::replace(&mut self.rest, content);
                self.value(&field.kind, self.version >= field.nullable)?;
                if !self.rest.is_empty() {
                    return Err(Refused::Tag);
                }
                self.rest = after;
            } else {
                self.unknown_tags = self.unknown_tags.checked_sub(1).ok_or(Refused::Elements)?;
            }
        }
        Ok(())
    }

    fn text_length(&mut self) -> Result<Option<usize>, Refused> {
        if self.flexible {
            let length = self.count()?;
            return match length {
                Some(length) if length > i16::MAX as usize => Err(Refused::Length),
                length => Ok(length),
            };
        }
        let bytes = self.take(2)?;
        let length = i16::from_be_bytes([bytes[0], bytes[1]]);
        signed(i32::from(length))
    }

    /// The length of bytes or the count of an array; `None` for null.
    fn count(&mut self) -> Result<Option<usize>, Refused> {
        if self.flexible {
            return Ok((self.unsigned_varint()? as usize).checked_sub(1));
        }
        let bytes = self.take(4)?;
        signed(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn unsigned_varint(&mut self) -> Result<u32, Refused> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = *self.take(1)?.first().ok_or(Refused::Truncated)?;
            // The fifth byte has room for the upper four bits alone.
            if shift == 28 && byte > 0x0f {
                return Err(Refused::VarInt);
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Refused::VarInt)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Refused> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Refused::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn signed(length: i32) -> Result<Option<usize>, Refused> {
    match length {
        -1 => Ok(None),
        length => usize::try_from(length).map(Some).map_err(|_| Refused::Length),
    }
}

fn null(allowed: bool) -> Result<(), Refused> {
    if allowed { Ok(()) } else { Err(Refused::Null) }
}

/// The fewest bytes that a value of this kind takes; never 0.
fn smallest(kind: &Kind, version: i16, flexible: bool) -> usize {
    match kind {
        Kind::Fixed(length) => *length,
        Kind::Text => {
            if flexible {
                1
            } else {
                2
            }
        }
        Kind::Blob | Kind::Array(_) => {
            if flexible {
                1
            } else {
                4
            }
        }
        Kind::Struct(fields) => {
            let fields = fields.iter().filter(|field| field.tag.is_none() && field.exists(version));
            let sum: usize = fields
                .map(|field| match field.kind {
                    Kind::Struct(_) if version >= field.nullable => 1,
                    kind => smallest(&kind, version, flexible),
                })
                .sum();
            (sum + usize::from(flexible)).max(1)
        }
    }
}

#[cfg(test)]
mod tests;
