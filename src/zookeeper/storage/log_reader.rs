//! The transaction log, read: record after record, up to where a file ends or is torn.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::adler32::Adler32;
use crate::zookeeper::txn::record::HEADER_LEN;

/// `ZKLG`, version 2, database id 0.
pub(crate) const FILE_HEADER: [u8; 16] = *b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0";

/// What closes each record.
pub(super) const END_OF_RECORD: u8 = b'B';

/// Bytes of a record beside its payload: checksum, length, end.
pub(super) const RECORD_OVERHEAD: usize = 13;

/// One step through a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A whole record.
    Record {
        /// Where it begins in the file.
        offset: u64,
        /// The transaction, encoded.
        payload: &'a [u8],
    },
    /// The log ends here, as it should: nothing or zeros follow.
    End {
        /// Where the last record ended.
        offset: u64,
    },
    /// Here stands something that is no whole record.
    Torn {
        /// Where it begins.
        offset: u64,
    },
}

/// Reads the records of one log.
#[derive(Debug)]
pub struct LogReader<R> {
    source: R,
    length: u64,
    offset: u64,
    payload: Vec<u8>,
}

/// What the first bytes of a log say.
#[derive(Debug)]
pub enum Opened<R> {
    /// It is a log.
    Log(LogReader<R>),
    /// It ends within its header: whoever began it got no further.
    Empty,
    /// It is something else.
    Foreign,
}

impl LogReader<BufReader<File>> {
    /// Opens the file at `path`.
    pub fn open(path: &Path) -> io::Result<Opened<BufReader<File>>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        LogReader::begin(BufReader::with_capacity(256 << 10, file), length)
    }

    /// Opens the file at `path`, and reads from the record on that begins at `offset`.
    pub(crate) fn open_at(path: &Path, offset: u64) -> io::Result<Opened<BufReader<File>>> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let mut source = BufReader::with_capacity(256 << 10, file);
        source.seek(io::SeekFrom::Start(offset))?;
        Ok(Opened::Log(LogReader { source, length, offset, payload: Vec::new() }))
    }
}

impl<R: Read> LogReader<R> {
    /// Reads the header of a log of `length` bytes.
    pub fn begin(mut source: R, length: u64) -> io::Result<Opened<R>> {
        let mut header = [0; FILE_HEADER.len()];
        if length < header.len() as u64 {
            return Ok(Opened::Empty);
        }
        source.read_exact(&mut header)?;
        if header == [0; FILE_HEADER.len()] {
            return Ok(Opened::Empty);
        }
        // ZooKeeper itself looks at the magic alone.
        if header[..4] != FILE_HEADER[..4] {
            return Ok(Opened::Foreign);
        }
        let offset = header.len() as u64;
        Ok(Opened::Log(LogReader { source, length, offset, payload: Vec::new() }))
    }

    /// The next record, or how the log ends. After the end there is nothing more to be read.
    pub fn next_entry(&mut self) -> io::Result<Entry<'_>> {
        let offset = self.offset;
        let remaining = self.length - offset;
        let mut head = [0; 12];
        let head_len = remaining.min(head.len() as u64);
        // At most 12.
        let head = &mut head[..usize::try_from(head_len).unwrap_or(0)];
        self.source.read_exact(head)?;
        if head.iter().all(|byte| *byte == 0) {
            return Ok(Entry::End { offset });
        }
        let Some((checksum, payload_len)) = parse_head(head) else {
            return Ok(Entry::Torn { offset });
        };
        let after_head = remaining - 12;
        if payload_len == 0 || payload_len as u64 + 1 > after_head {
            return Ok(Entry::Torn { offset });
        }
        self.payload.resize(payload_len + 1, 0);
        self.source.read_exact(&mut self.payload)?;
        let Some((end, payload)) = self.payload.split_last() else {
            return Ok(Entry::Torn { offset });
        };
        if *end != END_OF_RECORD || u64::from(Adler32::of(payload)) != checksum {
            return Ok(Entry::Torn { offset });
        }
        self.offset += (RECORD_OVERHEAD + payload_len) as u64;
        Ok(Entry::Record { offset, payload })
    }
}

/// Checksum and length, if there are 12 bytes and they can be that.
fn parse_head(head: &[u8]) -> Option<(u64, usize)> {
    let (checksum, length) = head.split_first_chunk::<8>()?;
    let length = i32::from_be_bytes(length.try_into().ok()?);
    Some((u64::from_be_bytes(*checksum), usize::try_from(length).ok()?))
}

/// Records longer than this are not looked for behind a torn one.
const SEARCHED_MAX: usize = 8 << 20;

/// Bytes summed in one window of the search.
const SEARCH_BUDGET: usize = 256 << 20;

/// Looks for a whole record with a zxid above `last_zxid` that begins in the file at `from` or behind,
/// but before `to`. Returns where.
pub(crate) fn find_record(
    path: &Path,
    from: u64,
    to: u64,
    last_zxid: i64,
) -> io::Result<Option<u64>> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let to = to.min(length);
    let mut window = Vec::new();
    let mut start = from;
    while start < to {
        let window_len = (length - start).min(2 * SEARCHED_MAX as u64);
        window.resize(usize::try_from(window_len).unwrap_or(0), 0);
        file.read_exact_at(&mut window, start)?;
        let stop = to.min(start + SEARCHED_MAX as u64) - start;
        if let Some(position) = find_in(&window, usize::try_from(stop).unwrap_or(0), last_zxid) {
            return Ok(Some(start + position as u64));
        }
        start += SEARCHED_MAX as u64;
    }
    Ok(None)
}

fn find_in(window: &[u8], stop: usize, last_zxid: i64) -> Option<usize> {
    let mut position = 0;
    let mut budget = SEARCH_BUDGET;
    while position < stop {
        // Most of it is zeros.
        if window[position..].first_chunk::<64>() == Some(&[0; 64]) {
            position += 52;
            continue;
        }
        if is_record(&window[position..], last_zxid, &mut budget) {
            return Some(position);
        }
        position += 1;
    }
    None
}

/// Whether a record begins here; or so much looks like records, as a client's data can, that it would
/// take too long to tell.
fn is_record(bytes: &[u8], last_zxid: i64, budget: &mut usize) -> bool {
    let Some((checksum, length)) = bytes.get(..12).and_then(parse_head) else { return false };
    if checksum == 0
        || checksum > u64::from(u32::MAX)
        || !(HEADER_LEN..=SEARCHED_MAX).contains(&length)
    {
        return false;
    }
    let Some(payload) = bytes.get(12..12 + length) else { return false };
    if bytes.get(12 + length) != Some(&END_OF_RECORD) {
        return false;
    }
    let zxid = payload[12..].first_chunk::<8>().map(|zxid| i64::from_be_bytes(*zxid));
    if zxid.is_none_or(|zxid| zxid <= last_zxid) {
        return false;
    }
    *budget = budget.saturating_sub(length);
    *budget == 0 || u64::from(Adler32::of(payload)) == checksum
}

/// Whether the bytes of the file from `from` on are all zero. What the file system knows to be a hole,
/// as most of what was allocated ahead is, isn't read.
pub(crate) fn all_zero(path: &Path, from: u64) -> io::Result<bool> {
    let file = File::open(path)?;
    let mut buffer = vec![0; 256 << 10];
    let zeros = vec![0; buffer.len()];
    let mut position = from;
    loop {
        position = match rustix::fs::seek(&file, SeekFrom::Data(position)) {
            Ok(data) => data,
            // Behind the last data.
            Err(Errno::NXIO) => return Ok(true),
            // A file system without holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => position,
            Err(error) => return Err(error.into()),
        };
        let count = file.read_at(&mut buffer, position)?;
        if count == 0 {
            return Ok(true);
        }
        // Compared as slices, which is one memcmp even in a debug build.
        if buffer[..count] != zeros[..count] {
            return Ok(false);
        }
        position += count as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_tail_is_zero_only_if_each_byte_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = File::create(&path).unwrap();
        file.write_all(&[7; 100]).unwrap();
        // A hole, as large as what a log is allocated ahead.
        file.set_len(64 << 20).unwrap();
        assert!(all_zero(&path, 100).unwrap());
        assert!(!all_zero(&path, 99).unwrap());
        assert!(all_zero(&path, 64 << 20).unwrap(), "nothing follows");
        // Zeros that were written, and one byte behind them and a second hole.
        file.write_at(&vec![0; 300_000], 100).unwrap();
        assert!(all_zero(&path, 100).unwrap());
        file.write_at(&[1], (64 << 20) - 1).unwrap();
        assert!(!all_zero(&path, 100).unwrap());
    }
}
