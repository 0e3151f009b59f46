//! Chrome's and Chromium's store, `Cookies`: values as they are, or encrypted with a key that everyone knows (`v10`) or
//! that the desktop's keyring holds (`v11`).

use aes::Aes128;
use cbc::{
    Decryptor,
    cipher::{BlockModeDecrypt as _, KeyIvInit as _, block_padding::Pkcs7},
};
use rusqlite::Connection;
use sha2::{Digest as _, Sha256};
use tollgate_core::{Timestamp, spec::session::CookiePattern};

use super::{Found, sql};
use crate::session::cookie::{Cookie, Value};

/// Microseconds from 1601, from which the store counts, to 1970.
const EPOCH_MICROS: i64 = 11_644_473_600_000_000;
/// The password and salt of `v10` on Linux: it hides values from a glance, no more.
const PASSWORD: &[u8] = b"peanuts";
const SALT: &[u8] = b"saltysalt";
/// Sixteen blanks.
const IV: [u8; 16] = [b' '; 16];
/// Bytes of the digest of its host that newer stores put before a value.
const DIGEST_BYTES: usize = 32;

/// Cookies of these names; none of another site's frame, which is another visitor.
pub(super) fn read(store: &Connection, names: &[CookiePattern]) -> Result<Vec<Found>, String> {
    // Older stores have no partitions.
    let partitions = "SELECT COUNT(*) FROM pragma_table_info('cookies') WHERE name = 'top_frame_site_key'";
    let partitions: i64 = store.query_row(partitions, [], |row| row.get(0)).map_err(|error| sql(&error))?;
    let filter = if partitions > 0 { " WHERE top_frame_site_key = ''" } else { "" };
    let query = format!(
        "SELECT name, value, encrypted_value, host_key, path, expires_utc, is_secure, creation_utc FROM cookies{filter}"
    );
    let mut query = store.prepare(&query).map_err(|error| sql(&error))?;
    let mut rows = query.query([]).map_err(|error| sql(&error))?;
    let (mut found, mut trouble) = (Vec::new(), None);
    while let Some(row) = rows.next().map_err(|error| sql(&error))? {
        let name: String = row.get(0).map_err(|error| sql(&error))?;
        if !names.iter().any(|pattern| pattern.matches(&name)) {
            continue;
        }
        let read = || -> rusqlite::Result<_> {
            let host: String = row.get(3)?;
            Ok((
                row.get::<_, String>(1)?,
                row.get::<_, Vec<u8>>(2)?,
                host,
                row.get(4)?,
                row.get(5)?,
                row.get(6)?,
                row.get(7)?,
            ))
        };
        let (plain, encrypted, host, path, expires, is_secure, made) = read().map_err(|error| sql(&error))?;
        let value = if encrypted.is_empty() { Ok(plain) } else { decrypt(&encrypted, &host) };
        match value {
            Ok(value) => {
                let cookie = Cookie {
                    name,
                    value: Value::new(value),
                    is_host_only: !host.starts_with('.'),
                    domain: host.trim_start_matches('.').to_ascii_lowercase(),
                    path,
                    is_secure,
                    expires: time(expires),
                };
                found.push(Found { cookie, made });
            }
            Err(reason) => trouble = Some(format!("the cookie {name}: {reason}")),
        }
    }
    match trouble {
        Some(trouble) if found.is_empty() => Err(trouble),
        _ => Ok(found),
    }
}

/// The store's time; 0: as long as its site takes it.
fn time(micros: i64) -> Option<Timestamp> {
    let millis = micros.checked_sub(EPOCH_MICROS)? / 1_000;
    u64::try_from(millis).ok().filter(|_| micros != 0).map(Timestamp)
}

fn decrypt(encrypted: &[u8], host: &str) -> Result<String, String> {
    let export = "export the cookies of the site to a file, and name it by `file`";
    let Some((version, bytes)) = encrypted.split_at_checked(3) else {
        return Err(format!("its value is cut off; {export}"));
    };
    match version {
        b"v10" => {}
        b"v11" => return Err(format!("its key is in the desktop's keyring (v11), which isn't asked; {export}")),
        _ => return Err(format!("it is encrypted in a way that isn't known; {export}")),
    }
    let mut key = [0; 16];
    pbkdf2::pbkdf2_hmac::<sha1::Sha1>(PASSWORD, SALT, 1, &mut key);
    let decryptor = Decryptor::<Aes128>::new(&key.into(), &IV.into());
    let plain = decryptor.decrypt_padded_vec::<Pkcs7>(bytes);
    let plain = plain.map_err(|_| format!("it isn't encrypted as it says (v10); {export}"))?;
    let digest = Sha256::digest(host.as_bytes());
    let value = match plain.split_at_checked(DIGEST_BYTES) {
        Some((before, value)) if before == digest.as_slice() => value,
        _ => &plain,
    };
    String::from_utf8(value.to_vec()).map_err(|_| format!("its value is no text; {export}"))
}
