//! Files that are read whole, and therefore only up to a length.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// What the file at `path` holds.
///
/// # Errors
/// It can't be read, or is longer than `longest` bytes.
pub fn read(path: &Path, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        return Err(io::Error::other(format!("it is longer than {longest} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_be_as_long_as_that_and_no_longer() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, [7; 10]).unwrap();
        assert_eq!(read(&path, 10).unwrap(), [7; 10]);
        assert_eq!(read(&path, 9).unwrap_err().to_string(), "it is longer than 9 bytes");
        assert_eq!(read(&path.join("x"), 9).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
