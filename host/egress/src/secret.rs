//! Secrets, read where they live at the moment they are used.

use std::{fs, path::Path};

use tollgate_core::spec::Secret;

/// Longest file of a secret, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Reads a secret; absent: it isn't set.
///
/// # Errors
/// A file is there and can't be read, or a variable is no text. The secret itself is in no message.
pub(crate) fn read(secret: &Secret, base: &Path) -> Result<Option<String>, String> {
    let text = match secret {
        Secret::Literal(text) => Some(text.clone()),
        Secret::Env(name) => match std::env::var(name) {
            Ok(text) => Some(text),
            Err(std::env::VarError::NotPresent) => None,
            Err(std::env::VarError::NotUnicode(_)) => return Err(format!("the variable {name} is no text")),
        },
        Secret::File(path) => {
            let path = base.join(path);
            match fs::metadata(&path) {
                Ok(found) if found.len() > FILE_BYTES_MAX => return Err(format!("{} is too large", path.display())),
                Ok(_) => Some(fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(format!("{}: {error}", path.display())),
            }
        }
    };
    Ok(text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// How a person sets it.
pub(crate) fn how_to_set(secret: &Secret) -> String {
    match secret {
        Secret::Literal(_) => "write its address there".to_owned(),
        Secret::Env(name) => format!("set the variable {name}"),
        Secret::File(path) => format!("write it to the file {}", path.display()),
    }
}
