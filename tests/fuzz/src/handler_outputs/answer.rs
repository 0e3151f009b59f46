//! How an input becomes the memory of a handler's answer, as the component model lays it.
//!
//! Its first byte says what: `0` to `6` a stage's error of that kind, `m` the memory itself, anything else an output.
//! The bytes after it are texts with 0xff between them, which no text has: of an output its fields, a flag, and then
//! key, data and revision of each item found.

/// Where the guest lays it.
pub(super) const BASE: u32 = 4_096;
/// What there is between that and the heap of the guest.
const BYTES_MAX: usize = 60 << 10;
/// Bytes of a `result<output, stage-error>`.
const ROOT_BYTES: usize = 40;
/// Milliseconds after which a task is to be tried again.
const AFTER: u32 = 1_500;

/// The memory; absent: there is no input, or more than a guest has room for.
pub(super) fn read(input: &[u8]) -> Option<Vec<u8>> {
    let (&kind, rest) = input.split_first()?;
    let mut texts = rest.split(|byte| *byte == 0xff);
    let mut memory = Memory { bytes: vec![0; ROOT_BYTES] };
    match kind {
        b'0'..=b'6' => {
            let [at, length] = memory.text(rest);
            let kind = u32::from(kind - b'0');
            memory.root(&[1, 0, kind, 0, at, length, 1, 0, AFTER, 0]);
        }
        b'm' => memory.bytes = rest.to_vec(),
        _ => {
            let fields = memory.text(texts.next()?);
            let flags: Vec<u32> = texts.next().into_iter().flat_map(|flag| memory.text(flag)).collect();
            let mut items = Vec::new();
            while let Some(key) = texts.next() {
                let (key, data) = (memory.text(key), memory.text(texts.next().unwrap_or(b"{}")));
                let revision = texts.next();
                let is_there = u32::from(revision.is_some());
                let revision = memory.text(revision.unwrap_or_default());
                items.extend([key[0], key[1], data[0], data[1], 0, is_there, revision[0], revision[1]]);
            }
            let (found, all) = (count(items.len() / 8), count(flags.len() / 2));
            let (items, flags) = (memory.words(&items), memory.words(&flags));
            memory.root(&[0, 0, fields[0], fields[1], items, found, flags, all]);
        }
    }
    (memory.bytes.len() <= BYTES_MAX).then_some(memory.bytes)
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap()
}

struct Memory {
    bytes: Vec<u8>,
}

impl Memory {
    fn put(&mut self, bytes: &[u8]) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = BASE + count(self.bytes.len());
        self.bytes.extend(bytes);
        at
    }

    /// A text's address and length.
    fn text(&mut self, text: &[u8]) -> [u32; 2] {
        [self.put(text), count(text.len())]
    }

    fn words(&mut self, of: &[u32]) -> u32 {
        self.put(&words(of))
    }

    fn root(&mut self, of: &[u32]) {
        let bytes = words(of);
        self.bytes[..bytes.len()].copy_from_slice(&bytes);
    }
}

fn words(of: &[u32]) -> Vec<u8> {
    of.iter().flat_map(|word| word.to_le_bytes()).collect()
}
