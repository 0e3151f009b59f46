//! Members as they come in: in pieces of any size, and not as the directory says.

use tollgate_sim::sites::archive::{Member as Written, ZipFile};

use super::*;
use crate::{
    archive::directory::{Directory, End},
    spool::{Held, SpooledBody},
};

/// What the only member unpacks to, in pieces of that size, its bytes changed before.
fn unpack(written: Written, piece: usize, change: impl Fn(&mut Vec<u8>)) -> Result<Vec<u8>, String> {
    let file = ZipFile::new(&[written], 0, 0);
    let bytes = [file.read(0..file.directory_start()), file.read(file.directory_start()..file.size())];
    let end = End::find(&bytes[1], file.directory_start()).unwrap();
    let length = usize::try_from(end.directory.end - end.directory.start).unwrap();
    let directory = Directory::parse(&bytes[1][..length], &end).unwrap();
    let names = directory.names();
    let member = directory.find(&names[0]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let spooling = Spooling::new(folder.path(), &Held::default());
    let mut unpacking = Unpacking::new(member, directory.raw_name(member), spooling)?;
    let says = |error: ExchangeError| match error {
        ExchangeError::Unfit(text) => text,
        ExchangeError::TooLarge => "too large".to_owned(),
        _ => "another error".to_owned(),
    };
    unpacking.begin(1 << 20).map_err(says)?;
    let mut received = bytes[0].to_vec();
    change(&mut received);
    for piece in received.chunks(piece) {
        unpacking.take(piece).map_err(says)?;
    }
    let body = unpacking.end()?;
    match body.source() {
        SpooledBody::Memory(bytes) => Ok(bytes.to_vec()),
        SpooledBody::File(path) => Ok(std::fs::read(path).unwrap()),
    }
}

#[test]
fn a07_each_method_is_unpacked_in_pieces_of_any_size() {
    let mut longer = Written::stored("longer.txt", "a local header longer than the directory's");
    longer.local_extra = b"\x99\x99\x04\x00abcd".to_vec();
    for written in [
        Written::stored("stored.txt", "as it is"),
        Written::stored("empty", ""),
        Written::deflated("deflated.txt", "again and ".repeat(9_000)),
        Written::deflate64("numbers.txt"),
        longer,
    ] {
        for piece in [1, 7, 1_000_000] {
            let name = String::from_utf8_lossy(&written.name).into_owned();
            let content = unpack(written.clone(), piece, |_| {}).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(content == written.content, "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn a07_what_cannot_be_unpacked_is_named() {
    let of = |change: &dyn Fn(&mut Written)| {
        let mut written = Written::deflated("a.txt", "x".repeat(5_000));
        change(&mut written);
        unpack(written, 1_000, |_| {}).unwrap_err()
    };
    assert!(of(&|member| member.flags = 1).contains("encrypted"));
    assert!(of(&|member| member.method = 12).contains("bzip2 (method 12)"));
    assert!(of(&|member| member.method = 77).contains("method 77"));
    assert!(of(&|member| member.method = 99).contains("AES"));
    assert!(of(&|member| member.crc ^= 1).contains("checksum"));
    assert!(of(&|member| member.size = 4_999).contains("more than the 4999 bytes"));
    assert!(of(&|member| member.size = 5_001).contains("ends after 5000 of the 5001 bytes"));
    assert!(of(&|member| member.size = 2 << 20).contains("too large"));
}

#[test]
fn a07_bytes_that_are_not_the_member_are_refused() {
    let numbers = || Written::deflate64("numbers.txt");
    let why = |change: &dyn Fn(&mut Vec<u8>)| unpack(numbers(), 100, change).unwrap_err();
    assert!(why(&|bytes| bytes[0] = b'Q').contains("no local header"));
    assert!(why(&|bytes| bytes[8] = 8).contains("different methods"));
    assert!(why(&|bytes| bytes[26] += 1).contains("another member"));
    assert!(why(&|bytes| bytes[30] ^= 1).contains("another member"));
    assert!(why(&|bytes| bytes.truncate(600)).contains("ends after"));
    assert!(why(&|bytes| bytes[41] |= 6).contains("broken"), "a kind of block that there isn't");
    for at in 41..1_200 {
        assert!(unpack(numbers(), 100, |bytes| bytes[at] ^= 0x55).is_err(), "a byte that isn't the member's at {at}");
    }
}

#[test]
fn a07_a_bomb_is_cut_at_what_its_directory_says() {
    let mut bomb = Written::deflated("bomb", vec![0; 50 << 20]);
    bomb.size = 1_000;
    assert!(unpack(bomb, 1 << 20, |_| {}).unwrap_err().contains("more than the 1000 bytes"));
}

/// Written by Python's zipfile to a stream: lengths stand after the data (4.3.9), and one member has its own in a Zip64
/// field.
const BY_PYTHON: &[u8] = include_bytes!("python.zip");

#[test]
fn a07_what_another_writer_streamed_is_read() {
    let end = End::find(BY_PYTHON, 0).unwrap();
    let within = |place: &std::ops::Range<u64>| {
        &BY_PYTHON[usize::try_from(place.start).unwrap()..usize::try_from(place.end).unwrap()]
    };
    let directory = Directory::parse(within(&end.directory), &end).unwrap();
    assert_eq!(directory.names(), ["stored.txt", "folder/deflated.txt", "größe.txt", "empty/"]);
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in [
        ("stored.txt", "stored\n".to_owned()),
        ("folder/deflated.txt", "deflated\n".repeat(100)),
        ("größe.txt", "zip64\n".repeat(50)),
        ("empty/", String::new()),
    ] {
        let member = directory.find(name).unwrap();
        let spooling = Spooling::new(folder.path(), &Held::default());
        let mut unpacking = Unpacking::new(member, directory.raw_name(member), spooling).unwrap();
        assert!(unpacking.begin(1_000).is_ok());
        assert!(unpacking.take(within(&directory.place(member).unwrap())).is_ok(), "{name}");
        let SpooledBody::Memory(bytes) = unpacking.end().unwrap().source() else {
            panic!("{name}: a small member is in a file");
        };
        assert_eq!(bytes, content, "{name}");
    }
}
