//! A node's name and data, in one piece of memory.

/// Name and data behind a number that says how long the name is, and whether there is data at all:
/// null is not empty. Where there is no node, there is not even the number.
#[derive(Debug, Default)]
pub(super) struct Content(Box<[u8]>);

impl Content {
    pub(super) fn new(name: &[u8], data: Option<&[u8]>) -> Self {
        let mut head = name.len() << 1 | usize::from(data.is_some());
        let mut number = [0; 10];
        let mut digits = 0;
        loop {
            #[allow(clippy::cast_possible_truncation, reason = "seven bits")]
            let digit = (head & 0x7f) as u8;
            head >>= 7;
            number[digits] = digit | u8::from(head > 0) << 7;
            digits += 1;
            if head == 0 {
                break;
            }
        }
        let data = data.unwrap_or_default();
        let mut bytes = Vec::with_capacity(digits + name.len() + data.len());
        bytes.extend_from_slice(&number[..digits]);
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(data);
        Content(bytes.into_boxed_slice())
    }

    /// Whether there is a node.
    pub(super) fn is_some(&self) -> bool {
        !self.0.is_empty()
    }

    /// The last part of its path; the root's is empty.
    pub(super) fn name(&self) -> &[u8] {
        let (head, rest) = self.head();
        &rest[..head >> 1]
    }

    /// The data; `None` is null.
    pub(super) fn data(&self) -> Option<&[u8]> {
        let (head, rest) = self.head();
        (head & 1 != 0).then(|| &rest[head >> 1..])
    }

    fn head(&self) -> (usize, &[u8]) {
        let (mut head, mut shift) = (0, 0);
        for (at, &digit) in self.0.iter().enumerate() {
            head |= usize::from(digit & 0x7f) << shift;
            if digit & 0x80 == 0 {
                return (head, &self.0[at + 1..]);
            }
            shift += 7;
        }
        (0, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_data_of_any_length_come_back() {
        for length in [0, 1, 63, 64, 8_191, 8_192, 1 << 20] {
            let name = vec![b'n'; length];
            for data in [None, Some(&b""[..]), Some(b"data")] {
                let content = Content::new(&name, data);
                assert_eq!((content.name(), content.data()), (&name[..], data));
                assert!(content.is_some());
            }
        }
        let none = Content::default();
        assert!(!none.is_some());
        assert_eq!((none.name(), none.data()), (&b""[..], None));
    }
}
