//! The codecs of record batches, as bounded streams: nothing is decompressed into memory at once.

use std::io::{self, BufRead, BufReader, Read};

use super::BatchError;

/// Window that a zstd frame may ask for, as a power of two: the default of zstd itself.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Bytes that are decompressed at a time.
const CHUNK: usize = 16 * 1024;
/// The framing that snappy-java puts around its blocks, and most clients with it.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, the version and the lowest compatible version.
const XERIAL_HEADER_LENGTH: usize = 16;

/// The codec in a batch's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Records as they are.
    None,
    /// gzip.
    Gzip,
    /// snappy, as one raw block or in snappy-java's framing.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard, since Produce version 7 (KIP-110).
    Zstd,
}

impl Compression {
    /// The codec in the low three bits of a batch's attributes.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`] for 5 to 7.
    pub fn from_attributes(attributes: i16) -> Result<Compression, BatchError> {
        match attributes & 0x07 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            unknown => Err(BatchError::UnknownCompression(unknown)),
        }
    }
}

/// A stream over the decompressed bytes of a batch's records, which fails once more than `limit`
/// bytes have come out of it.
pub(super) fn decompressor<'a>(
    codec: Compression,
    compressed: &'a [u8],
    limit: u64,
) -> Result<Box<dyn BufRead + 'a>, BatchError> {
    let failed = |error: io::Error| BatchError::Decompression(error.to_string());
    Ok(match codec {
        Compression::None => Box::new(compressed),
        Compression::Gzip => bounded(flate2::bufread::MultiGzDecoder::new(compressed), limit),
        Compression::Snappy => bounded(SnappyBlocks::new(compressed, limit), limit),
        Compression::Lz4 => bounded(lz4_flex::frame::FrameDecoder::new(compressed), limit),
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(compressed).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(failed)?;
            bounded(decoder, limit)
        }
    })
}

fn bounded<'a>(reader: impl Read + 'a, limit: u64) -> Box<dyn BufRead + 'a> {
    Box::new(BufReader::with_capacity(CHUNK, Bounded { reader, left: limit }))
}

/// Whether a stream of [`decompressor`] failed because of its limit.
pub(super) fn is_too_large(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge
}

fn too_large() -> io::Error {
    io::ErrorKind::FileTooLarge.into()
}

/// Fails after a number of bytes, where `Read::take` would end quietly.
struct Bounded<R> {
    reader: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(too_large)?;
        Ok(count)
    }
}

/// snappy blocks, one decompressed at a time: raw, or framed as snappy-java does.
struct SnappyBlocks<'a> {
    input: &'a [u8],
    framed: bool,
    block: Vec<u8>,
    position: usize,
    limit: u64,
}

impl<'a> SnappyBlocks<'a> {
    fn new(input: &'a [u8], limit: u64) -> Self {
        let framed = input.len() >= XERIAL_HEADER_LENGTH && input.starts_with(&XERIAL_MAGIC);
        let input = if framed { &input[XERIAL_HEADER_LENGTH..] } else { input };
        SnappyBlocks { input, framed, block: Vec::new(), position: 0, limit }
    }

    /// Decompresses the next block; `false` at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let compressed = if self.framed {
            // Streams that were glued together repeat the header.
            while self.input.starts_with(&XERIAL_MAGIC) {
                self.input = self.input.get(XERIAL_HEADER_LENGTH..).unwrap_or_default();
            }
            if self.input.is_empty() {
                return Ok(false);
            }
            let (length, rest) =
                self.input.split_first_chunk::<4>().ok_or(io::ErrorKind::UnexpectedEof)?;
            let length = u32::from_be_bytes(*length) as usize;
            let (block, rest) =
                rest.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
            self.input = rest;
            block
        } else {
            std::mem::take(&mut self.input)
        };
        if compressed.is_empty() {
            return Ok(self.framed);
        }
        let length = snap::raw::decompress_len(compressed)?;
        // A copy of 64 bytes takes 3: what claims to be packed tighter than that is made up.
        if length > compressed.len().saturating_mul(32) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a snappy block claims an impossible length",
            ));
        }
        if length as u64 > self.limit {
            return Err(too_large());
        }
        self.block.resize(length, 0);
        self.position = 0;
        let written = snap::raw::Decoder::new().decompress(compressed, &mut self.block)?;
        self.block.truncate(written);
        Ok(true)
    }
}

impl Read for SnappyBlocks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            self.block.clear();
            self.position = 0;
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let available = &self.block[self.position..];
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.position += count;
        Ok(count)
    }
}
