//! Firefox's store, `cookies.sqlite`: values as they are.

use rusqlite::Connection;
use tollgate_core::{Timestamp, spec::session::CookiePattern};

use super::{Found, sql};
use crate::session::cookie::{Cookie, Value};

/// Expiries above it are milliseconds, as newer stores have them; in seconds it is the year 5138.
const SECONDS_MAX: i64 = 100_000_000_000;

/// Cookies of these names; none of a container or of another site's frame, which are other visitors.
pub(super) fn read(store: &Connection, names: &[CookiePattern]) -> Result<Vec<Found>, String> {
    let query =
        "SELECT name, value, host, path, expiry, isSecure, creationTime FROM moz_cookies WHERE originAttributes = ''";
    let mut query = store.prepare(query).map_err(|error| sql(&error))?;
    let rows = query.query_map([], |row| {
        let (host, expiry): (String, i64) = (row.get(2)?, row.get(4)?);
        let millis = if expiry > SECONDS_MAX { expiry } else { expiry.saturating_mul(1_000) };
        Ok(Found {
            cookie: Cookie {
                name: row.get(0)?,
                value: Value::new(row.get::<_, String>(1)?),
                is_host_only: !host.starts_with('.'),
                domain: host.trim_start_matches('.').to_ascii_lowercase(),
                path: row.get(3)?,
                is_secure: row.get(5)?,
                expires: u64::try_from(millis).ok().filter(|millis| *millis > 0).map(Timestamp),
            },
            made: row.get(6)?,
        })
    });
    let rows = rows.map_err(|error| sql(&error))?;
    let mut found = Vec::new();
    for row in rows {
        let row = row.map_err(|error| sql(&error))?;
        if names.iter().any(|name| name.matches(&row.cookie.name)) {
            found.push(row);
        }
    }
    Ok(found)
}
