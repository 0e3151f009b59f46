//! A ZIP archive's directory: found by the archive's end, parsed from bytes, kept small.
//!
//! Section numbers are those of PKWARE's APPNOTE.TXT, version 6.3.10. What a directory says is the server's word: every
//! length is bounded, every place is held against the file, and sizes and checksums are held against what is unpacked.

use std::ops::Range;

use super::{fields::Fields, names};

/// Largest directory read, in bytes: some 700,000 members with names of usual length.
pub(super) const DIRECTORY_BYTES_MAX: u64 = 64 << 20;
/// Bytes of all names together: a list of them goes into a guest's memory.
const NAMES_BYTES_MAX: usize = 16 << 20;
/// Bytes from the file's end that are read first. 4.3.16: the end record is 22 bytes and a comment of up to 65,535,
/// with Zip64 76 before it; then as few as can be.
pub(super) const TAIL_BYTES: u64 = 66 << 10;

/// 4.3.16: end of central directory record.
const END: [u8; 4] = *b"PK\x05\x06";
const END_BYTES: usize = 22;
/// 4.3.15: Zip64 end of central directory locator.
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
/// 4.3.14: Zip64 end of central directory record, its extensible data left out.
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_BYTES: usize = 56;
/// 4.3.12: file header of the central directory.
const HEADER: [u8; 4] = *b"PK\x01\x02";
const HEADER_BYTES: usize = 46;
/// 4.3.7: local file header, without name and extra field.
pub(super) const LOCAL_BYTES: u64 = 30;
/// 4.5.3: the extra field with sizes and places that four bytes don't hold.
const ZIP64_EXTRA: u16 = 1;
/// 4.4.1.4: in a field of four bytes: look into the Zip64 one.
const IN_ZIP64: u64 = 0xffff_ffff;

/// Where a directory lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct End {
    /// Its bytes within the file.
    pub(super) directory: Range<u64>,
    /// Bytes that stand before the archive, a program that unpacks itself for example: all
    /// places are that much further.
    shift: u64,
    /// Members, and whether the number is a whole one: without Zip64 it has 16 bits, and some writers let it run over.
    members: u64,
    is_whole: bool,
}

impl End {
    /// Finds the directory by the file's last bytes; `from` is where in the file they begin.
    ///
    /// # Errors
    /// What is wrong with the archive, as a fragment.
    pub(super) fn find(tail: &[u8], from: u64) -> Result<Self, String> {
        let at = find_end(tail).ok_or("it has no end of central directory record")?;
        let mut end = Fields::new(&tail[at + 4..]);
        let (disk, start_disk) = (end.u16()?, end.u16()?);
        let (_, members) = (end.u16()?, u64::from(end.u16()?));
        let (size, offset) = (u64::from(end.u32()?), u64::from(end.u32()?));
        let is_split = |disk: u32, none: u32| disk != 0 && disk != none;
        if is_split(disk.into(), 0xffff) || is_split(start_disk.into(), 0xffff) {
            return Err("it is one part of a split archive".to_owned());
        }
        let locator = at.checked_sub(LOCATOR_BYTES).filter(|locator| tail[*locator..].starts_with(&LOCATOR));
        let Some(locator) = locator else {
            return Self::placed(from + at as u64, size, offset, members, false);
        };
        // 4.3.15: signature, disk, offset of the record. With bytes before the archive the offset is too small, and
        // then the record without extensible data stands right before its locator.
        let stated = Fields::new(&tail[locator + 8..]).u64()?;
        let stated = stated.checked_sub(from).and_then(|at| usize::try_from(at).ok());
        let is_record = |at: &usize| tail.get(*at..locator).is_some_and(|bytes| bytes.starts_with(&END64));
        let record = stated.filter(is_record).or(locator.checked_sub(END64_BYTES).filter(is_record));
        let record = record.ok_or("its Zip64 end of central directory record isn't where its locator says")?;
        // 4.3.14: size of record, two versions, two disks, members on this disk.
        let mut fields = Fields::new(&tail[record + 4..locator]);
        fields.skip(8 + 2 + 2)?;
        if is_split(fields.u32()?, u32::MAX) || is_split(fields.u32()?, u32::MAX) {
            return Err("it is one part of a split archive".to_owned());
        }
        fields.skip(8)?;
        let (members, size, offset) = (fields.u64()?, fields.u64()?, fields.u64()?);
        Self::placed(from + record as u64, size, offset, members, true)
    }

    /// The directory that ends at `end`.
    fn placed(end: u64, size: u64, offset: u64, members: u64, is_whole: bool) -> Result<Self, String> {
        if size > DIRECTORY_BYTES_MAX {
            return Err(format!("its directory is {size} bytes; {DIRECTORY_BYTES_MAX} is the limit"));
        }
        let outside = || format!("its directory of {size} bytes lies outside of the file");
        let start = end.checked_sub(size).ok_or_else(outside)?;
        let shift = start.checked_sub(offset).ok_or_else(outside)?;
        Ok(Self { directory: start..end, shift, members, is_whole })
    }
}

/// The last end record whose comment fits into what follows it.
fn find_end(tail: &[u8]) -> Option<usize> {
    let last = tail.len().checked_sub(END_BYTES)?;
    (0..=last).rev().find(|at| {
        let comment = usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]));
        tail[*at..].starts_with(&END) && at + END_BYTES + comment <= tail.len()
    })
}

/// A member as the directory has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    name: Range<u32>,
    pub(super) method: u16,
    pub(super) is_encrypted: bool,
    pub(super) crc: u32,
    /// Bytes in the file.
    pub(super) packed: u64,
    /// Bytes once unpacked.
    pub(super) size: u64,
    /// Where its local header stands in the file.
    header: u64,
}

/// A directory, parsed.
#[derive(Debug)]
pub(super) struct Directory {
    /// All names, one after the other, as they stand in the archive.
    names: Vec<u8>,
    members: Vec<Member>,
    /// Where it begins: no member goes further.
    start: u64,
}

impl Directory {
    /// Parses the directory's bytes.
    ///
    /// # Errors
    /// What is wrong with it, as a fragment.
    pub(super) fn parse(bytes: &[u8], end: &End) -> Result<Self, String> {
        let mut directory = Self { names: Vec::new(), members: Vec::new(), start: end.directory.start };
        let mut fields = Fields::new(bytes);
        while !fields.is_empty() {
            directory.take(&mut fields, end.shift)?;
        }
        let found = directory.members.len() as u64;
        let agrees = if end.is_whole { found == end.members } else { found & 0xffff == end.members };
        if !agrees {
            return Err(format!("its directory has {found} members, and its end record says {}", end.members));
        }
        directory.names.shrink_to_fit();
        directory.members.shrink_to_fit();
        Ok(directory)
    }

    /// 4.3.12: one file header.
    fn take(&mut self, fields: &mut Fields<'_>, shift: u64) -> Result<(), String> {
        let place = self.members.len();
        if fields.left() < HEADER_BYTES || fields.bytes(4)? != HEADER {
            return Err(format!("there is no file header for member {place} where its directory has one"));
        }
        fields.skip(4)?;
        let (flags, method) = (fields.u16()?, fields.u16()?);
        fields.skip(4)?;
        let crc = fields.u32()?;
        let (mut packed, mut size) = (u64::from(fields.u32()?), u64::from(fields.u32()?));
        let (name, extra, comment) = (fields.u16()?, fields.u16()?, fields.u16()?);
        fields.skip(2 + 2 + 4)?;
        let mut header = u64::from(fields.u32()?);
        let (name, extra) = (fields.bytes(name.into())?, fields.bytes(extra.into())?);
        fields.skip(comment.into())?;
        if let Some(extra) = zip64_extra(extra) {
            // 4.5.3: in this order, and each only where the field of four bytes says so.
            let mut extra = Fields::new(extra);
            for value in [&mut size, &mut packed, &mut header] {
                if *value == IN_ZIP64 {
                    *value = extra.u64()?;
                }
            }
        }
        if self.names.len() + name.len() > NAMES_BYTES_MAX {
            return Err(format!("the names in its directory are more than {NAMES_BYTES_MAX} bytes"));
        }
        let from = u32::try_from(self.names.len()).map_err(|error| error.to_string())?;
        self.names.extend_from_slice(name);
        let to = u32::try_from(self.names.len()).map_err(|error| error.to_string())?;
        let header = header.checked_add(shift).ok_or("a member lies outside of the file")?;
        // 4.4.4: bit 0 is for encryption, bit 13 for a directory that is.
        let is_encrypted = flags & (1 | 1 << 13) != 0;
        self.members.push(Member { name: from..to, method, is_encrypted, crc, packed, size, header });
        Ok(())
    }

    /// The member of that name, as [`Directory::names`] has it; of several the last, as writers that append mean it.
    pub(super) fn find(&self, name: &str) -> Option<&Member> {
        self.members.iter().rev().find(|member| names::is(self.raw_name(member), name))
    }

    /// A member's name as it stands in the archive.
    pub(super) fn raw_name(&self, member: &Member) -> &[u8] {
        &self.names[member.name.start as usize..member.name.end as usize]
    }

    /// All names, in the directory's order.
    pub(super) fn names(&self) -> Vec<String> {
        self.members.iter().map(|member| names::decode(self.raw_name(member)).into_owned()).collect()
    }

    /// The bytes of the file that hold a member: its local header, whose own extra field may be longer than the
    /// directory's, and its data. They end where the next member begins.
    ///
    /// # Errors
    /// The member can't lie where the directory says.
    pub(super) fn place(&self, member: &Member) -> Result<Range<u64>, String> {
        let after = self.members.iter().map(|other| other.header).filter(|other| *other > member.header);
        let end = after.min().unwrap_or(self.start).min(self.start);
        let name = u64::from(member.name.end - member.name.start);
        let least = member.header.checked_add(LOCAL_BYTES + name).and_then(|bytes| bytes.checked_add(member.packed));
        match least {
            Some(least) if least <= end => Ok(member.header..end.min(least.saturating_add(u16::MAX.into()))),
            _ => Err("it overlaps another member, or lies outside of the file".to_owned()),
        }
    }

    /// Bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        self.names.len() + self.members.len() * size_of::<Member>()
    }
}

/// The Zip64 field among the extra fields (4.5.1: id, length, data). Fields that are cut short end the search: some
/// writers pad with zeros.
fn zip64_extra(extra: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(extra);
    loop {
        let (id, length) = (fields.u16().ok()?, fields.u16().ok()?);
        let data = fields.bytes(length.into()).ok()?;
        if id == ZIP64_EXTRA {
            return Some(data);
        }
    }
}

#[cfg(test)]
mod tests;
