//! Reading fixed little-endian layouts from bytes that may be hostile.
//!
//! Must never panic, nor allocate by a length it has only been told.

/// What is left to read.
pub struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Start at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    /// The next byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next little-endian u32.
    pub fn number(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next `magic.len()` bytes, if they are `magic`.
    pub fn magic(&mut self, magic: &[u8]) -> Option<()> {
        (self.bytes(magic.len())? == magic).then_some(())
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything left.
    pub fn rest(self) -> &'a [u8] {
        self.0
    }

    /// Nothing may be left.
    pub fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_in_order_and_stops_at_the_end() {
        let mut cursor = Cursor::new(b"mg\x05\x01\0\0\0ab");
        cursor.magic(b"mg").unwrap();
        assert_eq!((cursor.byte(), cursor.number()), (Some(5), Some(1)));
        assert_eq!(cursor.bytes(3), None);
        assert_eq!(cursor.array(), Some(*b"ab"));
        assert_eq!((cursor.byte(), cursor.number()), (None, None));
        cursor.end().unwrap();
    }

    #[test]
    fn a_wrong_magic_and_a_rest_are_noticed() {
        assert!(Cursor::new(b"xx").magic(b"mg").is_none());
        assert!(Cursor::new(b"m").magic(b"mg").is_none());
        assert!(Cursor::new(b"m").end().is_none());
        assert_eq!(Cursor::new(b"m").rest(), b"m");
    }
}
