//! The one field that is read of a `Produce` request: its `acks`, since 0 has no answer. Pure.

use bytes::Buf;
use kafka_protocol::messages::ApiKey;

use crate::kafka::wire::guard::{self, Refused};
use crate::limits;

/// The `acks` of the request that `content` begins, behind its length; `None` while too little of
/// it is there. `whole` says that nothing more of it comes.
pub(super) fn acks(content: &[u8], version: i16, whole: bool) -> Result<Option<i16>, Refused> {
    match read(content, version) {
        // A header and a transactional id are short: whoever sends more is no client.
        Err(Refused::Truncated) if !whole && content.len() < limits::GATEWAY_PRODUCE_HEADER_MAX => {
            Ok(None)
        }
        Err(refused) => Err(refused),
        Ok(acks) => Ok(Some(acks)),
    }
}

fn read(content: &[u8], version: i16) -> Result<i16, Refused> {
    let mut rest = content.get(8..).ok_or(Refused::Truncated)?;
    skip_text(&mut rest)?;
    let flexible = ApiKey::Produce.request_header_version(version) >= 2;
    if flexible {
        rest.advance(guard::skip_tagged_fields(rest)?);
        let length = varint(&mut rest)?.saturating_sub(1) as usize;
        rest = rest.get(length..).ok_or(Refused::Truncated)?;
    } else if version >= 3 {
        skip_text(&mut rest)?;
    }
    rest.try_get_i16().map_err(|_| Refused::Truncated)
}

/// Skips a text that may be null, with its length in two bytes.
fn skip_text(rest: &mut &[u8]) -> Result<(), Refused> {
    let length = rest.try_get_i16().map_err(|_| Refused::Truncated)?;
    match usize::try_from(length) {
        Ok(length) => *rest = rest.get(length..).ok_or(Refused::Truncated)?,
        Err(_) if length == -1 => {}
        Err(_) => return Err(Refused::Length),
    }
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Result<u32, Refused> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = rest.try_get_u8().map_err(|_| Refused::Truncated)?;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(Refused::VarInt)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The start of a request with this `acks`, in a version with and without tagged fields.
    fn request(version: i16, transactional: Option<&str>, acks: i16) -> Vec<u8> {
        let mut content = vec![0, 0];
        content.extend(version.to_be_bytes());
        content.extend(7_i32.to_be_bytes());
        content.extend([0, 2, b'm', b'e']);
        let length = transactional.map_or(0, str::len);
        if version >= 9 {
            content.extend([1, 5, 1, 9]);
            content.push(transactional.map_or(0, |_| u8::try_from(length).unwrap() + 1));
        } else if version >= 3 {
            let length = transactional.map_or(-1, |_| i16::try_from(length).unwrap());
            content.extend(length.to_be_bytes());
        }
        if version >= 3 {
            content.extend(transactional.unwrap_or_default().bytes());
        }
        content.extend(acks.to_be_bytes());
        content
    }

    #[test]
    fn acks_are_found_as_soon_as_they_are_there() {
        for version in [0, 2, 3, 8, 9, 11] {
            for transactional in [None, Some("t-1")] {
                for wanted in [-1, 0, 1] {
                    let content = request(version, transactional, wanted);
                    for end in 0..content.len() {
                        assert_eq!(
                            acks(&content[..end], version, false),
                            Ok(None),
                            "{version} {end}"
                        );
                        assert!(acks(&content[..end], version, true).is_err(), "{version} {end}");
                    }
                    assert_eq!(acks(&content, version, false), Ok(Some(wanted)), "{version}");
                }
            }
        }
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let mut content = request(9, None, 1);
        content[8..10].copy_from_slice(&i16::MAX.to_be_bytes());
        assert_eq!(acks(&content, 9, false), Ok(None));
        content.truncate(8);
        content.extend([0xff, 0xff]);
        // One tagged field that is longer than any header.
        content.extend([1, 0, 0xff, 0xff, 0xff, 0x7f]);
        content.resize(limits::GATEWAY_PRODUCE_HEADER_MAX, 0);
        assert_eq!(acks(&content, 9, false), Err(Refused::Truncated));
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic() {
        for version in [2, 3, 9] {
            let content = request(version, Some("t-1"), 1);
            for at in 0..content.len() {
                for value in 0..=255 {
                    let mut changed = content.clone();
                    changed[at] = value;
                    let _ = acks(&changed, version, false);
                    let _ = acks(&changed, version, true);
                }
            }
        }
    }
}
