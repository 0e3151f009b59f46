//! Addresses that lead inside this machine or its network, each in a form that some check has missed (trap 12).

/// Such addresses, each of its own form, all with this port: on loopback a test can listen there and see who comes.
/// `/inside` is asked for, by which a tool's own requests can be told from others.
#[must_use]
pub fn urls(port: u16) -> Vec<String> {
    HOSTS.iter().map(|host| format!("http://{host}:{port}/inside")).collect()
}

/// The hosts of [`urls`].
pub const HOSTS: [&str; 20] = [
    "127.0.0.1",
    "127.1",
    "127.9.9.9",
    // Decimal, octal, hexadecimal: the same address.
    "2130706433",
    "0177.0.0.1",
    "0x7f.0.0.1",
    "0x7f000001",
    // Wide digits and dots, which browsers take for the plain ones.
    "\u{ff11}\u{ff12}\u{ff17}\u{3002}0\u{3002}0\u{3002}1",
    "0.0.0.0",
    "[::1]",
    "[::]",
    // IPv4 within IPv6: mapped, and by the prefix of RFC 6052.
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[64:ff9b::7f00:1]",
    "localhost",
    "LOCALHOST.",
    "a.localhost",
    // The metadata services of clouds, and a neighbour.
    "169.254.169.254",
    "[fe80::1]",
    "10.0.0.1",
];
