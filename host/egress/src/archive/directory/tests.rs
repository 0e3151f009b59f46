//! Directories as writers make them, and as nobody should.

use tollgate_sim::sites::archive::{Member as Written, ZipFile};

use super::*;

fn whole(file: &ZipFile) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::new(), 0);
    while at < file.size() {
        let piece = file.read(at..file.size());
        bytes.extend_from_slice(&piece);
        at += piece.len() as u64;
    }
    bytes
}

fn small() -> Vec<u8> {
    let mut zip64 = Written::stored("zip64.txt", "sizes in a field of their own");
    zip64.is_zip64 = true;
    whole(&ZipFile::new(&[Written::stored("a.txt", "a"), zip64, Written::deflated("b/c.txt", "c".repeat(100))], 2, 0))
}

fn read(bytes: &[u8]) -> Result<Directory, String> {
    let end = End::find(bytes, 0)?;
    let place = |at: u64| usize::try_from(at).unwrap();
    Directory::parse(&bytes[place(end.directory.start)..place(end.directory.end)], &end)
}

fn local_header_stands(bytes: &[u8], directory: &Directory, name: &str) -> bool {
    let place = directory.place(directory.find(name).unwrap()).unwrap();
    bytes[usize::try_from(place.start).unwrap()..].starts_with(b"PK\x03\x04")
}

#[test]
fn a07_members_are_found_by_name_with_their_places() {
    let bytes = small();
    let directory = read(&bytes).unwrap();
    assert_eq!(directory.names()[..3], ["a.txt", "zip64.txt", "b/c.txt"]);
    assert_eq!(directory.find("zip64.txt").unwrap().size, 29);
    for name in directory.names() {
        assert!(local_header_stands(&bytes, &directory, &name), "{name}");
    }
    assert!(directory.find("none").is_none());
}

#[test]
fn a07_a_program_before_the_archive_and_a_comment_after_it_are_fine() {
    let mut bytes = b"#!/bin/sh\nexit\n".to_vec();
    bytes.extend_from_slice(&small());
    let comment = "PK\x05\x06 in a comment is no end of central directory record";
    let length = bytes.len();
    bytes[length - 2..].copy_from_slice(&u16::try_from(comment.len()).unwrap().to_le_bytes());
    bytes.extend_from_slice(comment.as_bytes());
    let directory = read(&bytes).unwrap();
    assert!(directory.names().iter().all(|name| local_header_stands(&bytes, &directory, name)));
}

#[test]
fn a07_what_is_no_archive_or_half_of_one_says_so() {
    let bytes = small();
    let end = bytes.len() - END_BYTES;
    let why = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = bytes.clone();
        change(&mut changed);
        read(&changed).unwrap_err()
    };
    assert!(why(&|bytes| bytes.truncate(end)).contains("no end of central directory"));
    assert!(why(&|bytes| bytes[end + 4] = 1).contains("split"));
    assert!(why(&|bytes| bytes[end + 10] = 9).contains("5 members, and its end record says 9"));
    assert!(why(&|bytes| bytes[end + 12] += 1).contains("lies outside"));
    assert!(why(&|bytes| bytes[end + 15] = 0x7f).contains("67108864 is the limit"));
    assert!(why(&|bytes| bytes[end - 60] ^= 1).contains("no file header for member 4"));
}

#[test]
fn a07_members_that_overlap_are_refused() {
    let bytes = small();
    let end = End::find(&bytes, 0).unwrap();
    let mut directory = read(&bytes).unwrap();
    directory.members[0].packed += 100_000;
    directory.members[1].header = end.directory.start - 3;
    for name in ["a.txt", "zip64.txt"] {
        assert!(directory.place(directory.find(name).unwrap()).unwrap_err().contains("overlaps"), "{name}");
    }
}

#[test]
fn a07_no_bytes_harm_the_reader() {
    let bytes = small();
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let mut taken = 0;
    for _ in 0..20_000 {
        let mut changed = bytes.clone();
        let from = changed.len() - 400;
        for _ in 0..=random(3) {
            let at = from + random(400);
            changed[at] = [0, 1, 0x7f, 0xff][random(4)];
        }
        let Ok(directory) = read(&changed) else {
            continue;
        };
        taken += 1;
        let size = bytes.len() as u64;
        for place in directory.members.iter().filter_map(|member| directory.place(member).ok()) {
            assert!(place.start < place.end && place.end <= size);
        }
    }
    assert!(taken > 0, "some changes are of names and checksums");
}
