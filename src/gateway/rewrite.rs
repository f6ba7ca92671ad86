//! Puts the gateway's addresses into an upstream's answer, and changes nothing else: pure.
//!
//! `Metadata`, `DescribeCluster` and `FindCoordinator` name brokers' addresses. Their fields up to
//! the last address are read one after the other; what stands behind is kept as it came.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

use super::addresses::AddressBook;

/// How an answer is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rewrite {
    /// The API.
    pub key: ApiKey,
    /// The version in which the upstream was asked.
    pub version: i16,
    /// The version in which the client asked.
    pub asked: i16,
}

/// Why an answer was not rewritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    /// It is none of this API and version.
    #[error("an upstream's answer can't be read")]
    Malformed,
    /// It names a broker that has no address here.
    #[error("an upstream's answer names broker {0}, which has no address here")]
    Unknown(i32),
}

/// What becomes of a broker that has no address here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strangers {
    /// The answer is refused with [`Failed::Unknown`].
    Refuse,
    /// A list of brokers is told without it; a coordinator that it is, is not available.
    LeaveOut,
}

const COORDINATOR_NOT_AVAILABLE: i16 = 15;

/// The answer `frame`, without its length, with the addresses of `book`.
pub(super) fn rewrite(
    what: Rewrite,
    frame: &Bytes,
    book: &AddressBook,
    strangers: Strangers,
) -> Result<BytesMut, Failed> {
    let mut walk = Walk {
        rest: frame.clone(),
        output: BytesMut::with_capacity(frame.len() + 1024),
        flexible: what.key.response_header_version(what.version) >= 1,
        book,
        strangers,
    };
    walk.keep(4)?;
    if walk.flexible {
        walk.tags()?;
    }
    let version = what.version;
    match what.key {
        ApiKey::Metadata => {
            walk.keep(if version >= 3 { 4 } else { 0 })?;
            walk.brokers(version >= 1)?;
        }
        ApiKey::DescribeCluster => {
            walk.keep(4 + 2)?;
            walk.text()?;
            walk.keep(usize::from(version >= 1))?;
            walk.text()?;
            walk.keep(4)?;
            walk.brokers(true)?;
        }
        ApiKey::FindCoordinator => walk.coordinators(version)?,
        _ => return Err(Failed::Malformed),
    }
    let Walk { rest, mut output, .. } = walk;
    if what.key == ApiKey::Metadata && version < 13 && what.asked >= 13 {
        // Version 13 has an error code for the whole answer, before the last tagged fields.
        let [body @ .., 0] = &rest[..] else { return Err(Failed::Malformed) };
        output.put_slice(body);
        output.put_i16(0);
        output.put_u8(0);
    } else {
        output.put_slice(&rest);
    }
    Ok(output)
}

struct Walk<'a> {
    rest: Bytes,
    output: BytesMut,
    flexible: bool,
    book: &'a AddressBook,
    strangers: Strangers,
}

impl Walk<'_> {
    /// Copies so many bytes.
    fn keep(&mut self, length: usize) -> Result<(), Failed> {
        if self.rest.len() < length {
            return Err(Failed::Malformed);
        }
        self.output.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Ok(())
    }

    fn int(&mut self) -> Result<i32, Failed> {
        self.rest.try_get_i32().map_err(|_| Failed::Malformed)
    }

    fn varint(&mut self) -> Result<u32, Failed> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.rest.try_get_u8().map_err(|_| Failed::Malformed)?;
            value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Failed::Malformed)
    }

    fn put_varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.output.put_u8(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.output.put_u8(value.to_le_bytes()[0]);
    }

    /// The length of a text, `None` for null.
    fn text_length(&mut self) -> Result<Option<usize>, Failed> {
        let length = if self.flexible {
            i64::from(self.varint()?) - 1
        } else {
            i64::from(self.rest.try_get_i16().map_err(|_| Failed::Malformed)?)
        };
        match usize::try_from(length) {
            Ok(length) if length <= self.rest.len() => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Ok(_) | Err(_) => Err(Failed::Malformed),
        }
    }

    /// Reads a text without copying it to the output.
    fn take_text(&mut self) -> Result<Option<Bytes>, Failed> {
        let length = self.text_length()?;
        Ok(length.map(|length| self.rest.split_to(length)))
    }

    fn put_text(&mut self, text: Option<&[u8]>) -> Result<(), Failed> {
        if self.flexible {
            self.put_varint(text.map_or(0, |text| text.len() + 1));
        } else {
            let length = text.map_or(Ok(-1), |text| i16::try_from(text.len()));
            self.output.put_i16(length.map_err(|_| Failed::Malformed)?);
        }
        self.output.put_slice(text.unwrap_or_default());
        Ok(())
    }

    fn text(&mut self) -> Result<(), Failed> {
        let text = self.take_text()?;
        self.put_text(text.as_deref())
    }

    /// Copies tagged fields.
    fn tags(&mut self) -> Result<(), Failed> {
        let count = self.varint()?;
        self.put_varint(count as usize);
        for _ in 0..count {
            let (tag, length) = (self.varint()?, self.varint()? as usize);
            self.put_varint(tag as usize);
            self.put_varint(length);
            self.keep(length)?;
        }
        Ok(())
    }

    /// How many items an array has; nothing is reserved for them.
    fn count(&mut self) -> Result<usize, Failed> {
        let count = if self.flexible { i64::from(self.varint()?) - 1 } else { self.int()?.into() };
        usize::try_from(count)
            .ok()
            .filter(|count| *count <= self.rest.len())
            .ok_or(Failed::Malformed)
    }

    fn put_count(&mut self, count: usize) -> Result<(), Failed> {
        if self.flexible {
            self.put_varint(count + 1);
        } else {
            self.output.put_i32(i32::try_from(count).map_err(|_| Failed::Malformed)?);
        }
        Ok(())
    }

    /// The address of a broker here; `None` for one that is to be left out.
    fn address(&self, id: i32) -> Result<Option<(Bytes, i32)>, Failed> {
        let here = self.book.relay.as_ref().and_then(|relay| relay.get(&id));
        match (here, self.strangers) {
            (Some(here), _) => Ok(Some((Bytes::copy_from_slice(here.host.as_bytes()), here.port))),
            (None, Strangers::LeaveOut) => Ok(None),
            (None, Strangers::Refuse) => Err(Failed::Unknown(id)),
        }
    }

    /// An array of brokers: id, host, port, and a rack where the version has it.
    fn brokers(&mut self, rack: bool) -> Result<(), Failed> {
        let count = self.count()?;
        let before = std::mem::take(&mut self.output);
        let mut kept = 0;
        for _ in 0..count {
            let id = self.int()?;
            self.take_text()?;
            self.int()?;
            let start = self.output.len();
            self.output.put_i32(id);
            let here = self.address(id)?;
            if let Some((host, port)) = &here {
                self.put_text(Some(host))?;
                self.output.put_i32(*port);
            }
            if rack {
                self.text()?;
            }
            if self.flexible {
                self.tags()?;
            }
            if here.is_some() {
                kept += 1;
            } else {
                self.output.truncate(start);
            }
        }
        let brokers = std::mem::replace(&mut self.output, before);
        self.put_count(kept)?;
        self.output.put_slice(&brokers);
        Ok(())
    }

    /// One coordinator before version 4, a list of them from then on.
    fn coordinators(&mut self, version: i16) -> Result<(), Failed> {
        self.keep(if version >= 1 { 4 } else { 0 })?;
        if version < 4 {
            let error = self.rest.try_get_i16().map_err(|_| Failed::Malformed)?;
            let message = if version >= 1 { Some(self.take_text()?) } else { None };
            let node = self.node(error)?;
            self.output.put_i16(node.error);
            if let Some(message) = message {
                self.put_text(message.as_deref())?;
            }
            return self.put_node(&node);
        }
        let count = self.count()?;
        self.put_count(count)?;
        for _ in 0..count {
            self.text()?;
            // The error code stands behind the node here.
            let node = self.node(0)?;
            let error = self.rest.try_get_i16().map_err(|_| Failed::Malformed)?;
            self.put_node(&node)?;
            self.output.put_i16(if node.error == 0 { error } else { node.error });
            self.text()?;
            self.tags()?;
        }
        Ok(())
    }

    fn node(&mut self, error: i16) -> Result<Node, Failed> {
        let id = self.int()?;
        let host = self.take_text()?;
        let port = self.int()?;
        if id < 0 {
            return Ok(Node { error, id, host, port });
        }
        Ok(match self.address(id)? {
            Some((host, port)) => Node { error, id, host: Some(host), port },
            None => Node {
                error: COORDINATOR_NOT_AVAILABLE,
                id: -1,
                host: Some(Bytes::new()),
                port: -1,
            },
        })
    }

    fn put_node(&mut self, node: &Node) -> Result<(), Failed> {
        self.output.put_i32(node.id);
        self.put_text(node.host.as_deref())?;
        self.output.put_i32(node.port);
        Ok(())
    }
}

struct Node {
    error: i16,
    id: i32,
    host: Option<Bytes>,
    port: i32,
}

#[cfg(test)]
#[path = "rewrite/tests.rs"]
mod tests;
