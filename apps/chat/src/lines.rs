//! Cuts a stream of bytes into lines of bounded length, whoever reads the stream.
//!
//! ```text
//!   bytes:  [ taken │ a whole line\n │ another, not yet who │ free space ]
//!                   start            scanned ≤              end
//! ```
//!
//! The caller reads into [`space`](LineBuffer::space), says how much came with
//! [`filled`](LineBuffer::filled) and takes lines with [`next_line`](LineBuffer::next_line). So
//! the same code serves blocking reads, callbacks and futures: nothing here touches a socket.
//! A last line without a line feed is never handed out: it may have been cut short.

use std::num::NonZeroUsize;

/// Bytes asked for in one read, and the least a buffer takes once used.
const CHUNK: usize = 4096;

/// A line was longer than the limit; the stream cannot be followed any more.
#[derive(Debug, PartialEq)]
pub struct TooLong;

/// Bytes on their way to becoming lines. Holds at most one line of the longest allowed length
/// and one chunk.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    start: usize,
    scanned: usize,
    end: usize,
    max_line: usize,
}

impl LineBuffer {
    /// A buffer for lines of at most `max_line` bytes, line feed not counted.
    pub fn new(max_line: NonZeroUsize) -> Self {
        Self { bytes: Vec::new(), start: 0, scanned: 0, end: 0, max_line: max_line.get() }
    }

    /// Room for the next read. Call [`next_line`](Self::next_line) until it has no more first.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.scanned, self.end) = (0, 0, 0);
            if self.bytes.len() > CHUNK {
                // A long line is the exception: give back what it took.
                self.bytes.truncate(CHUNK);
                self.bytes.shrink_to_fit();
            }
        } else if self.start > 0 && self.bytes.len() - self.end < CHUNK {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.bytes.len() - self.end < CHUNK {
            let doubled = (self.bytes.len() * 2).min(self.max_line + CHUNK);
            self.bytes.resize(doubled.max(self.end + CHUNK), 0);
        }
        &mut self.bytes[self.end..]
    }

    /// `count` bytes were read into the space.
    ///
    /// # Panics
    ///
    /// When that is more than the space.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.end, "more was read than there was room for");
        self.end += count;
    }

    /// The next whole line, without its line feed; `None` until more has been read.
    pub fn next_line(&mut self) -> Option<Result<&[u8], TooLong>> {
        let found = self.bytes[self.scanned..self.end].iter().position(|&byte| byte == b'\n');
        let (line_end, next) = match found {
            Some(offset) => (self.scanned + offset, self.scanned + offset + 1),
            None => {
                self.scanned = self.end;
                return (self.end - self.start > self.max_line).then_some(Err(TooLong));
            }
        };
        let line_start = std::mem::replace(&mut self.start, next);
        self.scanned = next;
        if line_end - line_start > self.max_line {
            return Some(Err(TooLong));
        }
        Some(Ok(&self.bytes[line_start..line_end]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `input` in pieces of `piece` bytes and collects the lines.
    fn lines(input: &[u8], piece: usize, max_line: usize) -> (Vec<Vec<u8>>, bool) {
        let mut buffer = LineBuffer::new(NonZeroUsize::new(max_line).unwrap());
        let mut lines = Vec::new();
        for mut part in input.chunks(piece) {
            while !part.is_empty() {
                let space = buffer.space();
                let count = part.len().min(space.len());
                space[..count].copy_from_slice(&part[..count]);
                part = &part[count..];
                buffer.filled(count);
                while let Some(line) = buffer.next_line() {
                    match line {
                        Ok(line) => lines.push(line.to_vec()),
                        Err(TooLong) => return (lines, true),
                    }
                }
            }
        }
        (lines, false)
    }

    #[test]
    fn lines_come_whole_whatever_the_pieces() {
        let long = "x".repeat(20_000);
        let input = format!("one\n\nthree {long}\nfour\ncut sho");
        let expected: Vec<Vec<u8>> = ["one", "", &format!("three {long}"), "four"]
            .iter()
            .map(|line| line.as_bytes().to_vec())
            .collect();
        for piece in [1, 2, 3, 7, 100, 4_095, 4_096, 4_097, 100_000] {
            assert_eq!(
                lines(input.as_bytes(), piece, 65_536),
                (expected.clone(), false),
                "{piece}"
            );
        }
    }

    #[test]
    fn the_limit_is_exact() {
        for (length, too_long) in [(9, false), (10, false), (11, true), (5_000, true)] {
            for piece in [1, 3, 100_000] {
                let input = [vec![b'x'; length], b"\n".to_vec()].concat();
                assert_eq!(lines(&input, piece, 10).1, too_long, "{length} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn too_long_is_seen_before_the_line_ends() {
        assert!(lines(&[b'x'; 100_000], 1_000, 65_536).1);
        assert!(!lines(&[b'x'; 65_536], 1_000, 65_536).1);
    }

    #[test]
    fn memory_stays_bounded_and_shrinks() {
        let mut buffer = LineBuffer::new(NonZeroUsize::new(65_536).unwrap());
        let mut left = 65_536;
        while left > 0 {
            let space = buffer.space();
            let count = space.len().min(left);
            space[..count].fill(b'x');
            buffer.filled(count);
            left -= count;
            assert!(buffer.next_line().is_none());
        }
        assert!(buffer.bytes.len() <= 65_536 + 2 * CHUNK, "{}", buffer.bytes.len());
        buffer.space()[0] = b'\n';
        buffer.filled(1);
        assert_eq!(buffer.next_line().unwrap().unwrap().len(), 65_536);
        assert_eq!(buffer.space().len(), CHUNK);
    }
}
