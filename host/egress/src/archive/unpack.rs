//! One member on its way in: its local header, then its data, unpacked as it comes.

use deflate64::InflaterManaged;
use flate2::{Decompress, FlushDecompress, Status};

use super::{
    directory::{LOCAL_BYTES, Member},
    fields::Fields,
};
use crate::{
    exchange::ExchangeError,
    receive::keep,
    spool::{Spooled, Spooling},
};

/// 4.3.7: local file header.
const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// Bytes unpacked at once.
const OUTPUT_BYTES: usize = 32 << 10;
/// 4.4.5: methods.
const STORED: u16 = 0;
const DEFLATE: u16 = 8;
const DEFLATE64: u16 = 9;

/// How a member's data is packed.
enum Method {
    Stored,
    Deflate(Box<Decompress>),
    Deflate64(Box<InflaterManaged>),
}

/// A member on its way in.
pub(super) struct Unpacking<'a> {
    member: &'a Member,
    /// As it stands in the directory.
    name: &'a [u8],
    method: Method,
    /// The local header as far as it has come; its end is known once its first 30 bytes are there.
    header: Vec<u8>,
    /// Bytes of packed data still to come; absent while the header isn't complete.
    left: Option<u64>,
    /// The packed data ended by its own mark.
    is_ended: bool,
    crc: crc32fast::Hasher,
    spooling: Spooling<'a>,
    body_max: u64,
}

impl<'a> Unpacking<'a> {
    /// Begins with a member whose name in the directory is `name`.
    ///
    /// # Errors
    /// It is packed or encrypted in a way that can't be undone here, as a fragment.
    pub(super) fn new(member: &'a Member, name: &'a [u8], spooling: Spooling<'a>) -> Result<Self, String> {
        if member.is_encrypted {
            return Err("it is encrypted, and encrypted members can't be read".to_owned());
        }
        let method = match member.method {
            STORED => Method::Stored,
            DEFLATE => Method::Deflate(Box::new(Decompress::new(false))),
            DEFLATE64 => Method::Deflate64(Box::new(InflaterManaged::new())),
            other => {
                return Err(format!("it is packed with {}; stored, Deflate and Deflate64 can be read", method(other)));
            }
        };
        let (header, crc) = (Vec::new(), crc32fast::Hasher::new());
        Ok(Self { member, name, method, header, left: None, is_ended: false, crc, spooling, body_max: 0 })
    }

    /// Looks at what the answering site's policy allows, before anything is received.
    pub(super) fn begin(&mut self, body_max: u64) -> Result<(), ExchangeError> {
        // No method makes data much longer than it was: five bytes in 64 KiB at most.
        let packed_max = body_max.saturating_add(body_max / 1_000).saturating_add(1_000);
        if self.member.size > body_max || self.member.packed > packed_max {
            return Err(ExchangeError::TooLarge);
        }
        self.body_max = body_max;
        Ok(())
    }

    /// Takes the next bytes of the file. Those after the data, its descriptor (4.3.9) among them, say nothing new.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), ExchangeError> {
        let data = match self.left {
            Some(_) => bytes,
            None => {
                let Some(data) = self.take_header(bytes)? else {
                    return Ok(());
                };
                data
            }
        };
        let left = self.left.unwrap_or(0);
        let data = &data[..data.len().min(usize::try_from(left).unwrap_or(usize::MAX))];
        self.left = Some(left - data.len() as u64);
        self.unpack(data)
    }

    /// Takes bytes of the header. Gives those that come after it.
    fn take_header<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, ExchangeError> {
        let mut bytes = bytes;
        loop {
            let length = self.header_bytes()?;
            let (of_header, after) = bytes.split_at(bytes.len().min(length - self.header.len()));
            self.header.extend_from_slice(of_header);
            bytes = after;
            if self.header.len() == length && self.header_bytes()? == length {
                break;
            }
            if bytes.is_empty() {
                return Ok(None);
            }
        }
        let name = self.header.get(LOCAL_BYTES as usize..).and_then(|rest| rest.get(..self.name.len()));
        if name != Some(self.name) {
            return Err(unfit("another member stands where its directory has it"));
        }
        self.left = Some(self.member.packed);
        Ok(Some(bytes))
    }

    /// 4.3.7: bytes of the local header, as far as they are known.
    fn header_bytes(&self) -> Result<usize, ExchangeError> {
        if self.header.len() < LOCAL_BYTES as usize {
            return Ok(LOCAL_BYTES as usize);
        }
        let mut fields = Fields::new(&self.header);
        if fields.bytes(4).map_err(unfit)? != LOCAL {
            return Err(unfit("there is no local header where its directory has one"));
        }
        fields.skip(2 + 2).map_err(unfit)?;
        if fields.u16().map_err(unfit)? != self.member.method {
            return Err(unfit("its local header and its directory name different methods"));
        }
        fields.skip(4 + 4 + 4 + 4).map_err(unfit)?;
        let (name, extra) = (fields.u16().map_err(unfit)?, fields.u16().map_err(unfit)?);
        if usize::from(name) != self.name.len() {
            return Err(unfit("another member stands where its directory has it"));
        }
        Ok(LOCAL_BYTES as usize + usize::from(name) + usize::from(extra))
    }

    fn unpack(&mut self, data: &[u8]) -> Result<(), ExchangeError> {
        if matches!(self.method, Method::Stored) {
            return self.put(data);
        }
        let (mut data, mut output) = (data, vec![0; OUTPUT_BYTES]);
        while !self.is_ended {
            let (taken, given) = self.step(data, &mut output)?;
            data = &data[taken..];
            self.put(&output[..given])?;
            // Nothing taken and nothing given: the next bytes are wanted.
            if taken == 0 && given == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Unpacks into the output. Gives how many bytes it took and gave.
    fn step(&mut self, data: &[u8], output: &mut [u8]) -> Result<(usize, usize), ExchangeError> {
        let broken = |how: &str| unfit(format!("its {how} data is broken"));
        match &mut self.method {
            Method::Stored => Ok((0, 0)),
            Method::Deflate(inflater) => {
                let (taken, given) = (inflater.total_in(), inflater.total_out());
                let status = inflater.decompress(data, output, FlushDecompress::None);
                self.is_ended = status.map_err(|_| broken("Deflate"))? == Status::StreamEnd;
                // Both are of one step, and no more than its slices have.
                Ok(((inflater.total_in() - taken) as usize, (inflater.total_out() - given) as usize))
            }
            Method::Deflate64(inflater) => {
                let step = inflater.inflate(data, output);
                if step.data_error {
                    return Err(broken("Deflate64"));
                }
                self.is_ended = inflater.finished();
                Ok((step.bytes_consumed, step.bytes_written))
            }
        }
    }

    fn put(&mut self, unpacked: &[u8]) -> Result<(), ExchangeError> {
        if self.spooling.size().saturating_add(unpacked.len() as u64) > self.member.size {
            return Err(unfit(format!("it is more than the {} bytes that its directory says", self.member.size)));
        }
        self.crc.update(unpacked);
        keep(&mut self.spooling, unpacked, self.body_max)
    }

    /// The member, once all of its range has come.
    ///
    /// # Errors
    /// Its size or its checksum isn't what the directory says, as a fragment.
    pub(super) fn end(self) -> Result<Spooled, String> {
        // Some writers give no data at all for what is empty.
        let is_ended = self.is_ended || matches!(self.method, Method::Stored) || self.member.packed == 0;
        if self.left != Some(0) || !is_ended || self.spooling.size() != self.member.size {
            let (size, found) = (self.member.size, self.spooling.size());
            return Err(format!("its data ends after {found} of the {size} bytes that its directory says"));
        }
        let (crc, found) = (self.member.crc, self.crc.finalize());
        if found != crc {
            return Err(format!("its checksum is {found:08x}, and its directory says {crc:08x}"));
        }
        Ok(self.spooling.end())
    }
}

/// What a method is called (4.4.5).
fn method(number: u16) -> String {
    let name = match number {
        1 => "Shrink",
        2..=5 => "Reduce",
        6 => "Implode",
        12 => "bzip2",
        14 => "LZMA",
        20 | 93 => "Zstandard",
        95 => "XZ",
        98 => "PPMd",
        99 => "AES encryption",
        _ => return format!("method {number}"),
    };
    format!("{name} (method {number})")
}

fn unfit(text: impl Into<String>) -> ExchangeError {
    ExchangeError::Unfit(text.into())
}

#[cfg(test)]
mod tests;
