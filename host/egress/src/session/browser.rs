//! A browser's own store of cookies, read while it runs: from a copy, since the browser holds it locked.

mod chromium;
mod firefox;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use rusqlite::{Connection, OpenFlags};
use tollgate_core::spec::session::{BrowserSpec, BrowserStore};

use super::cookie::{Cookie, Jar};

/// Largest store that is copied, in bytes. Those of people who log in everywhere have some 10 MB.
const STORE_BYTES_MAX: u64 = 512 << 20;
/// Profiles of one browser that are looked at.
const PROFILES_MAX: usize = 50;
/// What SQLite lays beside a store: what was written last stands there alone.
const BESIDE: [&str; 2] = ["-wal", "-journal"];

/// A cookie of a store, with when it was made, in the store's own count.
struct Found {
    cookie: Cookie,
    made: i64,
}

/// How the stores of a browser stand, to see whether they changed. Cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stand(Vec<(PathBuf, Option<(SystemTime, u64)>)>);

/// A browser, and where its stores may be.
#[derive(Debug)]
pub(super) struct Browser<'a> {
    spec: &'a BrowserSpec,
    base: &'a Path,
}

impl<'a> Browser<'a> {
    pub(super) fn new(spec: &'a BrowserSpec, base: &'a Path) -> Self {
        Self { spec, base }
    }

    /// How its stores stand. Blocks for as long as a few looks at the disk take.
    pub(super) fn stand(&self) -> Stand {
        let with = |store: PathBuf| {
            let all = std::iter::once(store.clone()).chain(BESIDE.iter().map(move |end| beside(&store, end)));
            all.map(|path| {
                let found = fs::metadata(&path).ok();
                (path, found.and_then(|found| Some((found.modified().ok()?, found.len()))))
            })
            .collect::<Vec<_>>()
        };
        Stand(self.stores().into_iter().flat_map(with).collect())
    }

    /// The cookies that the entry names, those that `wanted` takes; of several of one name the newest. `scratch` is
    /// where copies lie meanwhile. Blocks.
    ///
    /// # Errors
    /// What is missing or can't be read, and what a person does about it.
    pub(super) fn read(&self, scratch: &Path, wanted: &dyn Fn(&Cookie) -> bool) -> Result<Jar, String> {
        let stores = self.stores();
        let (name, names) = (self.spec.store.as_str(), self.names());
        if stores.is_empty() {
            return Err(format!(
                "{name}: no store of cookies in {}; log in with {name}, or write `profile`",
                self.places()
            ));
        }
        let (mut found, mut troubles) = (Vec::new(), Vec::new());
        for store in &stores {
            match self.read_one(store, scratch) {
                Ok(read) => found.extend(read.into_iter().filter(|found| wanted(&found.cookie))),
                Err(trouble) => troubles.push(format!("{}: {trouble}", store.display())),
            }
        }
        // The newest first: it is the one that is put in last.
        found.sort_by_key(|found| found.made);
        let mut jar = Jar::default();
        for Found { cookie, .. } in found {
            jar.put(cookie);
        }
        if jar.is_empty() {
            let nothing = format!("{name}: no cookie {names} for it; log in with {name}, and stay logged in");
            return Err(if troubles.is_empty() { nothing } else { format!("{name}: {}", troubles.join("; ")) });
        }
        for trouble in troubles {
            tracing::warn!(browser = name, trouble, "one of a browser's stores can't be read");
        }
        Ok(jar)
    }

    fn names(&self) -> String {
        self.spec.cookies.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    fn read_one(&self, store: &Path, scratch: &Path) -> Result<Vec<Found>, String> {
        let copy = Copied::new(store, scratch).map_err(|error| format!("it can't be copied: {error}"))?;
        let read = |connection: &Connection| match self.spec.store {
            BrowserStore::Firefox => firefox::read(connection, &self.spec.cookies),
            BrowserStore::Chrome | BrowserStore::Chromium => chromium::read(connection, &self.spec.cookies),
        };
        read(&copy.open().map_err(|error| sql(&error))?)
    }

    /// Files of cookies that are there.
    fn stores(&self) -> Vec<PathBuf> {
        let mut stores: Vec<PathBuf> = Vec::new();
        for place in self.roots() {
            for folder in std::iter::once(place.clone()).chain(folders(&place)) {
                let names: &[&str] = match self.spec.store {
                    BrowserStore::Firefox => &["cookies.sqlite"],
                    BrowserStore::Chrome | BrowserStore::Chromium => &["Network/Cookies", "Cookies"],
                };
                let store = names.iter().map(|name| folder.join(name)).find(|store| store.is_file());
                stores.extend(store.filter(|_| stores.len() < PROFILES_MAX));
            }
        }
        stores
    }

    /// Folders of profiles, or those around them.
    fn roots(&self) -> Vec<PathBuf> {
        if let Some(profile) = &self.spec.profile {
            return vec![self.base.join(profile)];
        }
        let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else {
            return Vec::new();
        };
        let below: &[&str] = match self.spec.store {
            BrowserStore::Firefox => &[
                ".mozilla/firefox",
                ".config/mozilla/firefox",
                "snap/firefox/common/.mozilla/firefox",
                ".var/app/org.mozilla.firefox/.mozilla/firefox",
            ],
            BrowserStore::Chrome => &[".config/google-chrome", ".var/app/com.google.Chrome/config/google-chrome"],
            BrowserStore::Chromium => {
                &[".config/chromium", "snap/chromium/common/chromium", ".var/app/org.chromium.Chromium/config/chromium"]
            }
        };
        below.iter().map(|below| home.join(below)).collect()
    }

    fn places(&self) -> String {
        let places: Vec<String> = self.roots().iter().map(|place| place.display().to_string()).collect();
        if places.is_empty() { "no folder, since HOME isn't set".to_owned() } else { places.join(", ") }
    }
}

/// The folders within one, by name.
fn folders(within: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(within).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn beside(store: &Path, end: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// A copy of a store in a folder of its own, which is its owner's alone and gone when dropped.
struct Copied(tempfile::TempDir);

impl Copied {
    fn new(store: &Path, scratch: &Path) -> io::Result<Self> {
        if fs::metadata(store)?.len() > STORE_BYTES_MAX {
            return Err(io::Error::other("it is too large"));
        }
        // As scratch folders of tools are named, so that those of a process that was killed are swept with them.
        let copied = Self(tempfile::Builder::new().prefix(crate::tool::scratch::PREFIX).tempdir_in(scratch)?);
        fs::copy(store, copied.path())?;
        for end in BESIDE {
            match fs::copy(beside(store, end), beside(&copied.path(), end)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(copied)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }

    /// For writing too: what the browser wrote last is still to be joined to the copy.
    fn open(&self) -> rusqlite::Result<Connection> {
        Connection::open_with_flags(self.path(), OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
    }
}

/// What is wrong with a store, without its rows.
fn sql(error: &rusqlite::Error) -> String {
    format!("it is no store of cookies that is known: {error}")
}
