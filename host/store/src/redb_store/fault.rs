//! What can happen to an operation inside the writer, and how redb's errors become ours.

use crate::StoreError;

/// Why an operation did not go through, and what that means for the others in its batch.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Refused before anything was written: the batch goes on.
    Refused(StoreError),
    /// Found to be impossible, perhaps after writing: the batch is done again without it.
    Broken(StoreError),
    /// The operation has taken note of its broken part: the batch is done again with it.
    Redo,
    /// The database itself refuses: the writer ends.
    Fatal(StoreError),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Broken(error)
    }
}

impl From<redb::StorageError> for Fault {
    fn from(error: redb::StorageError) -> Self {
        match error {
            redb::StorageError::Corrupted(text) => Self::Broken(StoreError::Corrupt(text)),
            redb::StorageError::DatabaseClosed => Self::Fatal(StoreError::Closed),
            redb::StorageError::Io(error) => error.into(),
            other => Self::Fatal(StoreError::Io(other.to_string())),
        }
    }
}

impl From<redb::CursorError> for Fault {
    fn from(error: redb::CursorError) -> Self {
        match error {
            redb::CursorError::Storage(error) => error.into(),
            other => Self::Broken(StoreError::Corrupt(other.to_string())),
        }
    }
}

impl From<redb::TableError> for Fault {
    fn from(error: redb::TableError) -> Self {
        match error {
            redb::TableError::Storage(error) => error.into(),
            other => Self::Fatal(StoreError::Corrupt(other.to_string())),
        }
    }
}

impl From<redb::TransactionError> for Fault {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            other => Self::Fatal(StoreError::Io(other.to_string())),
        }
    }
}

impl From<redb::CommitError> for Fault {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            other => Self::Fatal(StoreError::Io(other.to_string())),
        }
    }
}

impl From<redb::DatabaseError> for Fault {
    fn from(error: redb::DatabaseError) -> Self {
        match error {
            redb::DatabaseError::Storage(error) => error.into(),
            other => Self::Fatal(StoreError::Io(other.to_string())),
        }
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Fatal(StoreError::of_io("the database", &error))
    }
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Refused(error) | Fault::Broken(error) | Fault::Fatal(error) => error,
            Fault::Redo => Self::Io("a batch could not be done again".to_owned()),
        }
    }
}
