//! The codecs of record batches, as bounded streams: nothing is decompressed into memory at once.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::BatchError;

/// Window that a zstd frame may ask for, as a power of two: the default of zstd itself.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;
/// Bytes that are decompressed at a time.
const CHUNK: usize = 16 * 1024;
/// The framing that snappy-java puts around its blocks, and most clients with it.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Bytes of one block of it, before compression.
const SNAPPY_BLOCK: usize = 32 * 1024;
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
    /// The codec's number in a batch's attributes.
    pub fn id(self) -> i16 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }

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

/// Compresses what is written to it, behind what its buffer holds already.
pub(super) enum Compressor {
    None(Vec<u8>),
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Snappy(SnappyFrames),
    Lz4(Box<lz4_flex::frame::FrameEncoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Compressor {
    /// `level` is the codec's own; `None` is its default, as Kafka has it.
    pub(super) fn new(
        codec: Compression,
        level: Option<i32>,
        mut into: Vec<u8>,
    ) -> io::Result<Compressor> {
        Ok(match codec {
            Compression::None => Compressor::None(into),
            Compression::Gzip => {
                let level = level.and_then(|level| u32::try_from(level).ok());
                let level = level.map_or_else(flate2::Compression::default, |level| {
                    flate2::Compression::new(level.min(9))
                });
                Compressor::Gzip(flate2::write::GzEncoder::new(into, level))
            }
            Compression::Snappy => {
                into.extend_from_slice(&XERIAL_MAGIC);
                // The version, and the lowest that can read it.
                into.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
                Compressor::Snappy(SnappyFrames { into, block: Vec::new() })
            }
            Compression::Lz4 => {
                // Kafka's own reader takes blocks that do not depend on each other, and no others.
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max64KB);
                let encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, into);
                Compressor::Lz4(Box::new(encoder))
            }
            Compression::Zstd => Compressor::Zstd(zstd::stream::write::Encoder::new(
                into,
                level.unwrap_or(zstd::DEFAULT_COMPRESSION_LEVEL),
            )?),
        })
    }

    /// The buffer, with all that was written compressed behind what it held.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Compressor::None(into) => Ok(into),
            Compressor::Gzip(encoder) => encoder.finish(),
            Compressor::Snappy(mut frames) => {
                frames.end_block()?;
                Ok(frames.into)
            }
            Compressor::Lz4(encoder) => encoder.finish().map_err(io::Error::other),
            Compressor::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl Write for Compressor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Compressor::None(into) => into.write(bytes),
            Compressor::Gzip(encoder) => encoder.write(bytes),
            Compressor::Snappy(frames) => frames.write(bytes),
            Compressor::Lz4(encoder) => encoder.write(bytes),
            Compressor::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// snappy blocks in snappy-java's framing.
pub(super) struct SnappyFrames {
    into: Vec<u8>,
    block: Vec<u8>,
}

impl SnappyFrames {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(SNAPPY_BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == SNAPPY_BLOCK {
            self.end_block()?;
        }
        Ok(count)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            let packed = snap::raw::Encoder::new().compress_vec(&self.block)?;
            let length = u32::try_from(packed.len()).map_err(io::Error::other)?;
            self.into.extend_from_slice(&length.to_be_bytes());
            self.into.extend_from_slice(&packed);
            self.block.clear();
        }
        Ok(())
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
