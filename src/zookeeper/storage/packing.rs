//! Packed snapshots: gzip, and the stream of snappy-java's `SnappyOutputStream` (a header, then chunks,
//! each after its length), both ways.

use std::fs::File;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use super::directory::Packing;

/// `SnappyCodec`: magic, version 1, readable from version 1 on.
const SNAPPY_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";

/// What `SnappyOutputStream` packs at once.
const SNAPPY_CHUNK: usize = 32 << 10;

/// Far above what it is ever configured to.
const SNAPPY_CHUNK_MAX: usize = 64 << 20;

/// The content of a file that is packed so.
pub(super) fn unpacked(file: File, packing: Packing) -> io::Result<Box<dyn Read>> {
    Ok(match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(GzDecoder::new(file)),
        Packing::Snappy => Box::new(SnappyReader::new(io::BufReader::new(file))?),
    })
}

/// Packs a stream, piece by piece.
#[derive(Debug)]
pub(super) enum Packer {
    Plain,
    Gzip(Box<GzEncoder<Vec<u8>>>),
    Snappy(Snappy),
}

/// A snappy stream in the making.
#[derive(Debug, Default)]
pub(super) struct Snappy {
    begun: bool,
    waiting: Vec<u8>,
}

impl Packer {
    pub(super) fn new(packing: Packing) -> Packer {
        match packing {
            Packing::Plain => Packer::Plain,
            Packing::Gzip => {
                Packer::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::default())))
            }
            Packing::Snappy => Packer::Snappy(Snappy::default()),
        }
    }

    /// Takes `input`, and leaves in it what can be written of all that came so far.
    pub(super) fn pack(&mut self, input: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Packer::Plain => {}
            Packer::Gzip(encoder) => {
                encoder.write_all(input)?;
                input.clear();
                input.append(encoder.get_mut());
            }
            Packer::Snappy(snappy) => {
                snappy.waiting.append(input);
                let whole = snappy.waiting.len() / SNAPPY_CHUNK * SNAPPY_CHUNK;
                let rest = snappy.waiting.split_off(whole);
                snappy.pack_waiting(input)?;
                snappy.waiting = rest;
            }
        }
        Ok(())
    }

    /// What ends the stream.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Packer::Plain => Ok(Vec::new()),
            Packer::Gzip(encoder) => encoder.finish(),
            Packer::Snappy(mut snappy) => {
                let mut out = Vec::new();
                snappy.pack_waiting(&mut out)?;
                Ok(out)
            }
        }
    }
}

impl Snappy {
    fn pack_waiting(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if !self.begun {
            self.begun = true;
            out.extend_from_slice(&SNAPPY_HEADER);
        }
        for chunk in self.waiting.chunks(SNAPPY_CHUNK) {
            let packed = snap::raw::Encoder::new().compress_vec(chunk).map_err(invalid)?;
            let length = u32::try_from(packed.len()).map_err(invalid)?;
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&packed);
        }
        self.waiting.clear();
        Ok(())
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The unpacked content of a snappy stream.
struct SnappyReader<R> {
    source: R,
    chunk: Vec<u8>,
    position: usize,
}

impl<R: Read> SnappyReader<R> {
    fn new(mut source: R) -> io::Result<Self> {
        let mut header = [0; SNAPPY_HEADER.len()];
        source.read_exact(&mut header)?;
        if header[..8] != SNAPPY_HEADER[..8] {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no snappy stream"));
        }
        Ok(SnappyReader { source, chunk: Vec::new(), position: 0 })
    }

    /// Unpacks the next chunk; false at the end.
    fn next_chunk(&mut self) -> io::Result<bool> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let mut length = Vec::new();
        self.source.by_ref().take(4).read_to_end(&mut length)?;
        if length.is_empty() {
            return Ok(false);
        }
        let length = length.first_chunk::<4>().map(|length| u32::from_be_bytes(*length));
        let length = length.ok_or_else(|| damaged("a chunk's length is cut off"))?;
        let mut packed = Vec::new();
        self.source.by_ref().take(u64::from(length)).read_to_end(&mut packed)?;
        if packed.len() as u64 != u64::from(length) {
            return Err(damaged("a chunk is cut off"));
        }
        if snap::raw::decompress_len(&packed).map_err(invalid)? > SNAPPY_CHUNK_MAX {
            return Err(damaged("a chunk is too long"));
        }
        self.chunk = snap::raw::Decoder::new().decompress_vec(&packed).map_err(invalid)?;
        self.position = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() {
            if !self.next_chunk()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.chunk.len() - self.position);
        out[..count].copy_from_slice(&self.chunk[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_piece_by_piece_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("packed");
        let content: Vec<u8> = (0..200_000_u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for packing in [Packing::Plain, Packing::Gzip, Packing::Snappy] {
            for length in [0, 1, SNAPPY_CHUNK, content.len()] {
                let mut packer = Packer::new(packing);
                let mut file = Vec::new();
                for piece in content[..length].chunks(50_000) {
                    let mut piece = piece.to_vec();
                    packer.pack(&mut piece).unwrap();
                    file.append(&mut piece);
                }
                file.extend(packer.finish().unwrap());
                std::fs::write(&path, &file).unwrap();
                let mut back = Vec::new();
                let mut source = unpacked(File::open(&path).unwrap(), packing).unwrap();
                source.read_to_end(&mut back).unwrap();
                assert!(back == content[..length], "{packing:?} {length}");
                if packing != Packing::Plain && length > 100_000 {
                    assert!(file.len() < length, "{packing:?}");
                }
            }
        }
    }
}
