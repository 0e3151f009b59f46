//! How an input becomes a row or a frame: a byte for the table or the log, one for the place in it, then the bytes.

use redb::{Database, Key, ReadableTable as _, ReadableTableMetadata as _, TableDefinition, Value, WriteTransaction};

use super::{frames, memory::MemoryDisk};

/// Tables of both databases, and behind them the log.
const PLACES: u8 = LOG + 1;
/// The first of `content.redb`.
const CONTENT: u8 = 27;
/// Of `queue.redb`, and behind them all: seeds name tables by their numbers.
const GONE: u8 = 29;
const FILES: u8 = 30;
/// Of `content.redb`.
const LISTED: u8 = 31;
/// No table: the ledger's log.
const LOG: u8 = 32;
/// Set in the second byte: a row more, whose key is what its bytes begin with.
const NEW: u8 = 0x80;
/// Bytes of the key of a row more, where keys have no fixed width.
const KEY_BYTES: usize = 14;

type Bytes = &'static [u8];
type Array<const N: usize> = &'static [u8; N];

/// What is done to a table.
trait Visit {
    type Found;

    fn visit<K: Key + 'static, V: Value + 'static>(&self, table: TableDefinition<'_, K, V>) -> Self::Found;
}

/// The table of that number, as `host/store/src/redb_store/tables.rs`, `ledger_tables.rs` and `content.rs` have it.
fn of_table<T: Visit>(number: u8, visit: &T) -> T::Found {
    match number {
        0 => visit.visit::<u32, Bytes>(TableDefinition::new("jobs")),
        1 => visit.visit::<Array<13>, Bytes>(TableDefinition::new("figures")),
        2 => visit.visit::<u64, Bytes>(TableDefinition::new("items")),
        3 => visit.visit::<Bytes, u64>(TableDefinition::new("keys")),
        4 => visit.visit::<u64, Bytes>(TableDefinition::new("tasks")),
        5 => visit.visit::<Array<12>, ()>(TableDefinition::new("failed")),
        6 => visit.visit::<Array<26>, ()>(TableDefinition::new("ready")),
        7 => visit.visit::<Array<26>, ()>(TableDefinition::new("later")),
        8 => visit.visit::<Array<10>, Bytes>(TableDefinition::new("outputs")),
        9 => visit.visit::<Bytes, Bytes>(TableDefinition::new("artifacts")),
        10 => visit.visit::<Array<14>, Bytes>(TableDefinition::new("attempts")),
        11 => visit.visit::<Array<12>, Bytes>(TableDefinition::new("errors")),
        12 => visit.visit::<Bytes, Bytes>(TableDefinition::new("state")),
        13 => visit.visit::<&'static str, Bytes>(TableDefinition::new("circuits")),
        14 => visit.visit::<Array<10>, Bytes>(TableDefinition::new("pages")),
        15 => visit.visit::<Array<22>, Bytes>(TableDefinition::new("holders")),
        16 => visit.visit::<Array<30>, [u8; 16]>(TableDefinition::new("sharers")),
        17 => visit.visit::<&'static str, Bytes>(TableDefinition::new("spending")),
        18 => visit.visit::<u64, Bytes>(TableDefinition::new("ledger")),
        19 => visit.visit::<Array<20>, ()>(TableDefinition::new("item_calls")),
        20 => visit.visit::<Array<12>, ()>(TableDefinition::new("day_calls")),
        21 => visit.visit::<u64, u64>(TableDefinition::new("calls_under_way")),
        22 => visit.visit::<&'static str, Bytes>(TableDefinition::new("accounts")),
        23 => visit.visit::<Bytes, Bytes>(TableDefinition::new("costs")),
        24 => visit.visit::<Array<22>, Bytes>(TableDefinition::new("answers")),
        25 => visit.visit::<Array<46>, u64>(TableDefinition::new("answer_calls")),
        CONTENT => visit.visit::<Array<32>, Bytes>(TableDefinition::new("blobs")),
        GONE => visit.visit::<Array<10>, Bytes>(TableDefinition::new("gone")),
        FILES => visit.visit::<Array<32>, u64>(TableDefinition::new("files")),
        LISTED => visit.visit::<u64, Bytes>(TableDefinition::new("listed")),
        _ => visit.visit::<&'static str, u64>(TableDefinition::new("meta")),
    }
}

fn database_of(disk: &MemoryDisk, table: u8) -> Database {
    if table < CONTENT || matches!(table, GONE | FILES) { disk.queue.database() } else { disk.content.database() }
}

/// Changes one row or frame as the input says. False: it names none.
pub(super) fn apply(disk: &MemoryDisk, input: &[u8]) -> bool {
    let [table, row, bytes @ ..] = input else {
        return false;
    };
    let table = table % PLACES;
    if table == LOG {
        return if row & NEW == 0 { frames::replace(&disk.wal, *row, bytes) } else { frames::lay(&disk.wal, bytes) };
    }
    let database = database_of(disk, table);
    let transaction = database.begin_write().unwrap();
    let is_done = of_table(table, &Put { transaction: &transaction, row: *row, bytes });
    transaction.commit().unwrap();
    database.close().unwrap();
    is_done
}

struct Put<'a> {
    transaction: &'a WriteTransaction,
    row: u8,
    bytes: &'a [u8],
}

impl Visit for Put<'_> {
    /// Whether there was a row whose place could be taken, or a key for one more.
    type Found = bool;

    fn visit<K: Key + 'static, V: Value + 'static>(&self, table: TableDefinition<'_, K, V>) -> bool {
        let mut table = self.transaction.open_table(table).unwrap();
        let rows = table.len().unwrap() as usize;
        let (key, value) = if self.row & NEW != 0 {
            let width = K::fixed_width().unwrap_or(KEY_BYTES).min(self.bytes.len());
            let (key, value) = self.bytes.split_at(width);
            (key.to_vec(), value)
        } else if rows > 0 {
            let (key, _) = table.iter().unwrap().nth(usize::from(self.row) % rows).unwrap().unwrap();
            (K::as_bytes(&key.value()).as_ref().to_vec(), self.bytes)
        } else {
            return false;
        };
        let (key, value) = (fit(&key, K::fixed_width()), fit(value, V::fixed_width()));
        if K::type_name() == <&str>::type_name() && std::str::from_utf8(&key).is_err() {
            return false;
        }
        table.insert(K::from_bytes(&key), V::from_bytes(&value)).unwrap();
        true
    }
}

/// Bytes of a fixed width have that width.
fn fit(bytes: &[u8], width: Option<usize>) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(width.unwrap_or(bytes.len()), 0);
    bytes
}

/// Inputs that change nothing, with the names of their tables: every row and frame as it is.
pub(super) fn seeds(disk: &MemoryDisk) -> Vec<(String, Vec<u8>)> {
    let of_table = |number| {
        let database = database_of(disk, number);
        let transaction = database.begin_write().unwrap();
        of_table(number, &Rows { transaction: &transaction, number })
    };
    let frame = |(place, content): (u8, Vec<u8>)| (format!("{LOG}-log-{place}"), [&[LOG, place], &*content].concat());
    (0..LOG).flat_map(of_table).chain((0..NEW).zip(frames::read(&disk.wal)).map(frame)).collect()
}

struct Rows<'a> {
    transaction: &'a WriteTransaction,
    number: u8,
}

impl Visit for Rows<'_> {
    type Found = Vec<(String, Vec<u8>)>;

    fn visit<K: Key + 'static, V: Value + 'static>(&self, table: TableDefinition<'_, K, V>) -> Self::Found {
        let name = redb::TableHandle::name(&table).to_owned();
        let table = self.transaction.open_table(table).unwrap();
        let seed = |place: u8, key: &[u8], value: &[u8]| match V::fixed_width() {
            Some(0) => [&[self.number, NEW], key].concat(),
            _ => [&[self.number, place], value].concat(),
        };
        let rows = (0..NEW).zip(table.iter().unwrap());
        let seeds = rows.map(|(place, row)| {
            let (key, value) = row.unwrap();
            let seed = seed(place, K::as_bytes(&key.value()).as_ref(), V::as_bytes(&value.value()).as_ref());
            (format!("{:02}-{name}-{place}", self.number), seed)
        });
        seeds.collect()
    }
}
