//! Names and numbers by which jobs, stages, items, lanes and claims are known.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Longest name of a job or a stage, in bytes: it stands in tables, URLs and file names.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest item key, in bytes: a long URL fits, a document does not.
pub const KEY_BYTES_MAX: usize = 2048;

/// Why a name or a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("empty")]
    Empty,
    /// Too many bytes.
    #[error("{found} bytes long; {max} is the limit")]
    TooLong {
        /// Its length in bytes.
        found: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// A character that a name can't have.
    #[error("{0:?} can't stand in a name; use a-z, 0-9, '-' and '_', beginning with a letter")]
    Character(char),
}

fn check_name(name: &str) -> Result<(), NameError> {
    let Some(first) = name.chars().next() else {
        return Err(NameError::Empty);
    };
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong { found: name.len(), max: NAME_BYTES_MAX });
    }
    if !first.is_ascii_lowercase() {
        return Err(NameError::Character(first));
    }
    match name.chars().find(|c| !(c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))) {
        Some(bad) => Err(NameError::Character(bad)),
        None => Ok(()),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the name if it may be one.
            ///
            /// # Errors
            /// It is empty, longer than [`NAME_BYTES_MAX`], or has a character other than a-z, 0-9, `-`, `_`.
            pub fn new(name: &str) -> Result<Self, NameError> {
                check_name(name)?;
                Ok(Self(name.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// Name of a job, as in `[job.NAME]`.
    JobName
}
name! {
    /// Name of a stage, unique in its handler.
    StageName
}
name! {
    /// Name of a handler: the stem of its `.wasm` file.
    HandlerName
}

/// What makes an item unique in its job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ItemKey(Arc<str>);

impl ItemKey {
    /// Takes the key if it may be one.
    ///
    /// # Errors
    /// It is empty or longer than [`KEY_BYTES_MAX`].
    pub fn new(key: &str) -> Result<Self, NameError> {
        if key.is_empty() {
            return Err(NameError::Empty);
        }
        if key.len() > KEY_BYTES_MAX {
            return Err(NameError::TooLong { found: key.len(), max: KEY_BYTES_MAX });
        }
        Ok(Self(key.into()))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for ItemKey {
    type Error = NameError;

    fn try_from(key: String) -> Result<Self, NameError> {
        Self::new(&key)
    }
}

impl From<ItemKey> for String {
    fn from(key: ItemKey) -> Self {
        key.0.as_ref().into()
    }
}

/// Number of a job in one store; given at its first declaration, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobId(pub u32);

/// Number of a stage within its job in one store; given at its first declaration, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct StageIx(pub u16);

/// Number of an item in one store; given at submission, rising, never given again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ItemId(pub u64);

/// The queue of one stage of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lane {
    /// Its job.
    pub job: JobId,
    /// Its stage.
    pub stage: StageIx,
}

/// Proof of a claim. Settling presents it; one that another claim has replaced is refused (trap 25).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClaimToken(pub u64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_refuse_what_a_path_or_a_terminal_could_misread() {
        assert!(JobName::new("std-docs_2").is_ok());
        assert_eq!(JobName::new(""), Err(NameError::Empty));
        assert_eq!(JobName::new("../x"), Err(NameError::Character('.')));
        assert_eq!(StageName::new("Fetch"), Err(NameError::Character('F')));
        assert_eq!(StageName::new("a\u{1b}[0m"), Err(NameError::Character('\u{1b}')));
        assert!(matches!(JobName::new(&"a".repeat(65)), Err(NameError::TooLong { found: 65, .. })));
    }

    #[test]
    fn keys_hold_a_url_and_have_an_end() {
        assert!(ItemKey::new("https://catalogue.example/a?b=c d").is_ok());
        assert!(matches!(ItemKey::new(&"k".repeat(2049)), Err(NameError::TooLong { .. })));
    }
}
