//! A ZIP file that is made as it is read: some members of their own, any number of fillers, a directory.
//!
//! Fillers are all alike but for their names, so that a file of gigabytes takes no more memory than its directory.

use bytes::Bytes;
use std::io::Write;
use std::ops::Range;

/// Bytes of one filler's content.
pub const FILLER_BYTES: u64 = 50_000;
/// Bytes of a filler's local header: 30, and its name.
const FILLER_HEADER_BYTES: u64 = 30 + 17;
/// What a field of four or two bytes says where Zip64 has the value.
const IN_ZIP64: u32 = u32::MAX;
const MANY: u16 = u16::MAX;

/// A member with content of its own. What it says of itself may be made untrue.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: Vec<u8>,
    /// What it is once unpacked.
    pub content: Bytes,
    /// The method that it says it is packed with.
    pub method: u16,
    /// Its bits: 1 says that it is encrypted.
    pub flags: u16,
    /// The checksum that it says.
    pub crc: u32,
    /// The size that it says.
    pub size: u64,
    /// Its sizes stand in a Zip64 field, as writers have it that don't know them beforehand.
    pub is_zip64: bool,
    /// Extra fields of its local header that the directory doesn't have.
    pub local_extra: Vec<u8>,
    packed: Bytes,
}

impl Member {
    fn of(name: &str, method: u16, content: Bytes, packed: Bytes) -> Self {
        Self {
            name: name.as_bytes().to_vec(),
            method,
            flags: 0,
            crc: crc32fast::hash(&content),
            size: content.len() as u64,
            is_zip64: false,
            local_extra: Vec::new(),
            content,
            packed,
        }
    }

    /// One that isn't packed.
    pub fn stored(name: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        Self::of(name, 0, content.clone(), content)
    }

    /// One packed with Deflate.
    ///
    /// # Panics
    /// Never: memory takes all that is written.
    pub fn deflated(name: &str, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let mut packer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        let packed = packer.write_all(&content).and_then(|()| packer.finish());
        Self::of(name, 8, content, packed.expect("memory takes all that is written").into())
    }

    /// One packed with Deflate64, which Deflate alone can't unpack: the numbers below 400, a long run of x, the numbers
    /// again. Packed with the Python package inflate64.
    pub fn deflate64(name: &str) -> Self {
        let numbers: String = (0..400).map(|number| format!("{number}\n")).collect();
        let content = format!("{numbers}{}{numbers}", "x".repeat(45_000));
        Self::of(name, 9, content.into(), Bytes::from_static(include_bytes!("numbers.deflate64")))
    }

    fn local(&self) -> Vec<u8> {
        let (packed, size) = (self.packed.len() as u64, self.size);
        let mut extra = if self.is_zip64 { zip64_extra(&[size, packed]) } else { Vec::new() };
        extra.extend_from_slice(&self.local_extra);
        let mut bytes = local_header(&self.name, self.flags, self.method, self.crc, self.sizes(), &extra);
        bytes.extend_from_slice(&self.packed);
        bytes
    }

    /// As they stand in fields of four bytes: packed, then unpacked.
    fn sizes(&self) -> [u32; 2] {
        if self.is_zip64 { [IN_ZIP64; 2] } else { [short(self.packed.len() as u64), short(self.size)] }
    }
}

/// A ZIP file.
#[derive(Debug)]
pub struct ZipFile {
    /// The members of their own.
    front: Bytes,
    places: Vec<(Vec<u8>, Range<u64>)>,
    fillers: u64,
    filler: Bytes,
    filler_crc: u32,
    /// Directory and end.
    back: Bytes,
}

impl ZipFile {
    /// These members, and so many fillers. Another `seed`, other fillers of the same size.
    pub fn new(members: &[Member], fillers: u32, seed: u8) -> Self {
        let filler: Bytes = (0..FILLER_BYTES).map(|at| (at % 251) as u8 ^ seed).collect::<Vec<_>>().into();
        let (mut front, mut places, mut directory) = (Vec::new(), Vec::new(), Vec::new());
        for member in members {
            let from = front.len() as u64;
            front.extend_from_slice(&member.local());
            places.push((member.name.clone(), from..front.len() as u64));
            let wide = if member.is_zip64 { vec![member.size, member.packed.len() as u64] } else { Vec::new() };
            directory.extend_from_slice(&file_header(
                &member.name,
                member.flags,
                member.method,
                member.crc,
                member.sizes(),
                wide,
                from,
            ));
        }
        let mut file = Self {
            filler_crc: crc32fast::hash(&filler),
            front: front.into(),
            places,
            fillers: fillers.into(),
            filler,
            back: Bytes::new(),
        };
        for number in 0..file.fillers {
            let (name, at) = (filler_name(number), file.filler_place(number).start);
            let sizes = [short(FILLER_BYTES); 2];
            directory.extend_from_slice(&file_header(name.as_bytes(), 0, 0, file.filler_crc, sizes, Vec::new(), at));
        }
        let end = end(members.len() as u64 + file.fillers, directory.len() as u64, file.directory_start());
        directory.extend_from_slice(&end);
        file.back = directory.into();
        file
    }

    /// Bytes of the whole file.
    pub fn size(&self) -> u64 {
        self.directory_start() + self.back.len() as u64
    }

    /// Bytes of the directory and all that follows it.
    pub fn directory_bytes(&self) -> u64 {
        self.back.len() as u64
    }

    /// Where the directory begins.
    pub fn directory_start(&self) -> u64 {
        self.filler_place(self.fillers).start
    }

    /// Bytes of a member, local header included.
    ///
    /// # Panics
    /// When there is none of that name: a mistake in the test that asks.
    pub fn member_bytes(&self, name: &str) -> u64 {
        let place = self.places.iter().find(|(member, _)| member == name.as_bytes());
        place.map(|(_, place)| place.end - place.start).expect("a member of that name")
    }

    fn filler_place(&self, number: u64) -> Range<u64> {
        let bytes = FILLER_HEADER_BYTES + FILLER_BYTES;
        let start = self.front.len() as u64 + number * bytes;
        start..start + bytes
    }

    /// Some of the bytes in that range, at least one: as many as come in a row. Within the file.
    pub fn read(&self, range: Range<u64>) -> Bytes {
        let cut = |bytes: &Bytes, start: u64| {
            // All are in memory, so their places fit.
            let (from, to) = ((range.start - start) as usize, (range.end - start).min(bytes.len() as u64) as usize);
            bytes.slice(from..to)
        };
        let front = self.front.len() as u64;
        if range.start < front {
            return cut(&self.front, 0);
        }
        if range.start >= self.directory_start() {
            return cut(&self.back, self.directory_start());
        }
        let number = (range.start - front) / (FILLER_HEADER_BYTES + FILLER_BYTES);
        let (place, sizes) = (self.filler_place(number), [short(FILLER_BYTES); 2]);
        if range.start >= place.start + FILLER_HEADER_BYTES {
            return cut(&self.filler, place.start + FILLER_HEADER_BYTES);
        }
        cut(&local_header(filler_name(number).as_bytes(), 0, 0, self.filler_crc, sizes, &[]).into(), place.start)
    }
}

/// The name of a filler.
pub fn filler_name(number: u64) -> String {
    format!("filler/{number:06}.bin")
}

fn short(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(IN_ZIP64)
}

fn zip64_extra(values: &[u64]) -> Vec<u8> {
    let mut extra = vec![1, 0];
    extra.extend_from_slice(&(values.len() as u16 * 8).to_le_bytes());
    extra.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    extra
}

/// Version 4.5, flags, method, a time, checksum, sizes: what both headers of a member begin with.
fn common(flags: u16, method: u16, crc: u32, sizes: [u32; 2]) -> Vec<u8> {
    let mut bytes = Vec::new();
    [45, flags, method, 0, 0x21].iter().for_each(|value: &u16| bytes.extend_from_slice(&value.to_le_bytes()));
    [crc, sizes[0], sizes[1]].iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes
}

fn local_header(name: &[u8], flags: u16, method: u16, crc: u32, sizes: [u32; 2], extra: &[u8]) -> Vec<u8> {
    let mut bytes = b"PK\x03\x04".to_vec();
    bytes.extend_from_slice(&common(flags, method, crc, sizes));
    [name.len(), extra.len()].iter().for_each(|length| bytes.extend_from_slice(&(*length as u16).to_le_bytes()));
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(extra);
    bytes
}

fn file_header(
    name: &[u8],
    flags: u16,
    method: u16,
    crc: u32,
    sizes: [u32; 2],
    mut wide: Vec<u64>,
    at: u64,
) -> Vec<u8> {
    if short(at) == IN_ZIP64 {
        wide.push(at);
    }
    let extra = if wide.is_empty() { Vec::new() } else { zip64_extra(&wide) };
    let mut bytes = b"PK\x01\x02\x2d\x00".to_vec();
    bytes.extend_from_slice(&common(flags, method, crc, sizes));
    let lengths = [name.len() as u16, extra.len() as u16, 0, 0, 0, 0, 0];
    lengths.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes.extend_from_slice(&short(at).to_le_bytes());
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(&extra);
    bytes
}

/// The end, with its Zip64 records where one of the values needs them.
fn end(members: u64, directory_bytes: u64, directory_start: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let is_many = members >= MANY.into();
    if is_many || short(directory_start) == IN_ZIP64 {
        let record = directory_start + directory_bytes;
        bytes.extend_from_slice(b"PK\x06\x06");
        bytes.extend_from_slice(&44u64.to_le_bytes());
        bytes.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let values = [members, members, directory_bytes, directory_start];
        values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        bytes.extend_from_slice(b"PK\x06\x07\0\0\0\0");
        bytes.extend_from_slice(&record.to_le_bytes());
        bytes.extend_from_slice(&1u32.to_le_bytes());
    }
    let count = if is_many { MANY } else { members as u16 };
    bytes.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    [count, count].iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    let values = [short(directory_bytes), short(directory_start)];
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    bytes.extend_from_slice(&[0, 0]);
    bytes
}
