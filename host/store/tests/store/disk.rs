//! A disk in memory that fails as it is told: loses power, tears what was on its way, is full, or has a bad spot.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
};

use tollgate_store::{Disk, DiskFile};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// When it fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Never.
    None,
    /// Before the sync of that number, from 0, power is lost: nothing answers any more.
    PowerLost { sync: usize },
    /// No file grows from the write or growth of that number on.
    Full { change: usize },
    /// The write or growth of that number fails; all else goes well.
    BadWrite { change: usize },
    /// The sync of that number fails, and what it was to make durable never is, whoever reads it till then; all else
    /// goes well.
    BadSync { sync: usize },
}

/// What was done to a file and isn't durable yet.
#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug, Default)]
struct File {
    durable: Vec<u8>,
    now: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Debug)]
struct State {
    files: BTreeMap<String, File>,
    trouble: Trouble,
    syncs: usize,
    changes: usize,
    is_dead: bool,
}

/// The disk; its copies are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct FlakyDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct FlakyFile {
    name: String,
    disk: FlakyDisk,
}

/// xorshift64*: <https://en.wikipedia.org/wiki/Xorshift#xorshift*>.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33
    }
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Length(length) => bytes.resize(*length as usize, 0),
        Change::Write(offset, data) => {
            let (start, end) = (*offset as usize, *offset as usize + data.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(data);
        }
    }
}

/// A write of which only some sectors came to the disk.
fn torn(change: &Change, dice: &mut Dice) -> Vec<Change> {
    let Change::Write(offset, data) = change else {
        return Vec::new();
    };
    // As sectors lie on the disk, wherever the write begins.
    let first = (SECTOR_BYTES - *offset as usize % SECTOR_BYTES).min(data.len());
    let (first, rest) = data.split_at(first);
    let mut at = *offset;
    let sectors = std::iter::once(first).chain(rest.chunks(SECTOR_BYTES)).map(|sector| {
        let place = at;
        at += sector.len() as u64;
        Change::Write(place, sector.to_vec())
    });
    sectors.filter(|_| dice.roll().is_multiple_of(2)).collect()
}

impl FlakyDisk {
    pub(crate) fn new(trouble: Trouble) -> Self {
        let files = BTreeMap::new();
        Self(Arc::new(Mutex::new(State { files, trouble, syncs: 0, changes: 0, is_dead: false })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// That trouble comes from now on.
    pub(crate) fn give(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// Syncs and changes so far.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.syncs, state.changes)
    }

    /// Its files as they are found once power is back: what was synced, and of what wasn't some whole, some in part,
    /// some not at all, as `seed` has it. Seed 0: nothing of it.
    fn found(&self, seed: u64) -> BTreeMap<String, Vec<u8>> {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut found = BTreeMap::new();
        for (name, file) in &self.state().files {
            let mut bytes = file.durable.clone();
            for change in file.pending.iter().filter(|_| seed != 0) {
                match dice.roll() % 3 {
                    0 => {}
                    1 => apply(&mut bytes, change),
                    _ => torn(change, &mut dice).iter().for_each(|part| apply(&mut bytes, part)),
                }
            }
            found.insert(name.clone(), bytes);
        }
        found
    }

    /// Writes into a folder what is found once power is back.
    pub(crate) fn lay(&self, folder: &Path, seed: u64) {
        for (name, bytes) in self.found(seed) {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
    }

    /// The disk once power is back.
    pub(crate) fn after_power_is_lost(&self, seed: u64) -> Self {
        let after = Self::new(Trouble::None);
        let whole = |bytes: Vec<u8>| File { durable: bytes.clone(), now: bytes, pending: Vec::new() };
        after.state().files.extend(self.found(seed).into_iter().map(|(name, bytes)| (name, whole(bytes))));
        after
    }

    /// Writes its files into a folder as they are, all of it.
    pub(crate) fn lay_all(&self, folder: &Path) {
        for (name, file) in &self.state().files {
            std::fs::write(folder.join(name), &file.now).unwrap();
        }
    }
}

impl State {
    fn alive(&self) -> io::Result<()> {
        if self.is_dead { Err(io::Error::other("the power is gone")) } else { Ok(()) }
    }

    /// Counts a change, and refuses it if that is the trouble.
    fn change(&mut self, grows: bool) -> io::Result<()> {
        self.alive()?;
        let number = self.changes;
        self.changes += 1;
        match self.trouble {
            Trouble::Full { change } if number >= change && grows => Err(io::ErrorKind::StorageFull.into()),
            Trouble::BadWrite { change } if number == change => Err(io::Error::other("a bad spot")),
            _ => Ok(()),
        }
    }
}

impl Disk for FlakyDisk {
    fn file(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.state().alive()?;
        self.state().files.entry(name.to_owned()).or_default();
        Ok(Box::new(FlakyFile { name: name.to_owned(), disk: self.clone() }))
    }

    fn has(&self, name: &str) -> io::Result<bool> {
        self.state().alive()?;
        Ok(self.state().files.contains_key(name))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.state().alive()?;
        self.state().files.remove(name);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        let file = state.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.files.insert(to.to_owned(), file);
        Ok(())
    }
}

impl FlakyFile {
    fn with<T>(&self, work: impl FnOnce(&mut File) -> T) -> T {
        work(self.disk.state().files.get_mut(&self.name).unwrap())
    }

    fn do_change(&self, change: Change) -> io::Result<()> {
        let length = self.with(|file| file.now.len()) as u64;
        let end = match &change {
            Change::Length(length) => *length,
            Change::Write(offset, data) => offset + data.len() as u64,
        };
        self.disk.state().change(end > length)?;
        self.with(|file| {
            apply(&mut file.now, &change);
            file.pending.push(change);
        });
        Ok(())
    }
}

impl DiskFile for FlakyFile {
    fn length(&self) -> io::Result<u64> {
        self.disk.state().alive()?;
        Ok(self.with(|file| file.now.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.disk.state().alive()?;
        let start = offset as usize;
        self.with(|file| {
            let bytes = file.now.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            out.copy_from_slice(bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.do_change(Change::Length(len))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.do_change(Change::Write(offset, data.to_vec()))
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        let number = state.syncs;
        state.syncs += 1;
        match state.trouble {
            Trouble::PowerLost { sync } if number == sync => {
                state.is_dead = true;
                return state.alive();
            }
            Trouble::BadSync { sync } if number == sync => {
                state.files.get_mut(&self.name).unwrap().pending.clear();
                return Err(io::Error::other("a sync that failed"));
            }
            _ => {}
        }
        let file = state.files.get_mut(&self.name).unwrap();
        for change in std::mem::take(&mut file.pending) {
            apply(&mut file.durable, &change);
        }
        Ok(())
    }
}
