//! Stores of browsers as they write them, read while they are held.

use std::path::Path;

use aes::Aes128;
use cbc::{
    Encryptor,
    cipher::{BlockModeEncrypt as _, KeyIvInit as _, block_padding::Pkcs7},
};
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};
use tollgate_sim::sites::ideas::{HOST, Ideas, REMEMBER_COOKIE};

use super::world::{FIREFOX, World, firefox};

/// How Chrome writes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Plain,
    V10,
    /// With the digest of its host before it, as newer ones do.
    V10WithHost,
    /// With a key of the desktop's keyring.
    V11,
}

fn encrypted(value: &str, host: &str, written: Written) -> Vec<u8> {
    let mut plain = Vec::new();
    if written == Written::V10WithHost {
        plain.extend_from_slice(&Sha256::digest(host.as_bytes()));
    }
    plain.extend_from_slice(value.as_bytes());
    let mut key = [0; 16];
    pbkdf2::pbkdf2_hmac::<sha1::Sha1>(b"peanuts", b"saltysalt", 1, &mut key);
    let encryptor = Encryptor::<Aes128>::new(&key.into(), &[b' '; 16].into());
    let sealed = encryptor.encrypt_padded_vec::<Pkcs7>(&plain);
    let version: &[u8] = if written == Written::V11 { b"v11" } else { b"v10" };
    [version, &sealed].concat()
}

/// Makes a store as Chrome has it, with one cookie, and leaves it open.
fn chrome(profile: &Path, value: &str, host: &str, written: Written) -> Connection {
    std::fs::create_dir_all(profile.join("Network")).unwrap();
    let store = Connection::open(profile.join("Network/Cookies")).unwrap();
    store
        .execute_batch(
            "CREATE TABLE meta (key LONGVARCHAR NOT NULL UNIQUE PRIMARY KEY, value LONGVARCHAR);
             INSERT INTO meta VALUES ('version', '24');
             CREATE TABLE cookies (creation_utc INTEGER NOT NULL, host_key TEXT NOT NULL, top_frame_site_key TEXT NOT \
             NULL, name TEXT NOT NULL, value TEXT NOT NULL, encrypted_value BLOB NOT NULL, path TEXT NOT NULL, \
             expires_utc INTEGER NOT NULL, is_secure INTEGER NOT NULL, is_httponly INTEGER NOT NULL);",
        )
        .unwrap();
    let (plain, sealed) = match written {
        Written::Plain => (value.to_owned(), Vec::new()),
        _ => (String::new(), encrypted(value, host, written)),
    };
    let insert = "INSERT INTO cookies VALUES (13380000000000000, ?1, ?2, ?3, ?4, ?5, '/', 15644473600000000, 0, 1)";
    store.execute(insert, params![host, "", REMEMBER_COOKIE, plain, sealed]).unwrap();
    // Of a frame within another site: another visitor.
    store.execute(insert, params![host, "https://other.example", REMEMBER_COOKIE, "framed", Vec::<u8>::new()]).unwrap();
    store
}

#[tokio::test]
async fn r10_chromes_cookie_is_read_plain_and_encrypted() {
    for written in [Written::Plain, Written::V10, Written::V10WithHost] {
        for store in ["chrome", "chromium"] {
            let session = FIREFOX.replace("firefox", store);
            let world = World::new(Ideas::seeded(30), Vec::new(), &session, "").await;
            let remember = world.site.remember();
            drop(chrome(&world.folder.path().join("profile"), &remember, HOST, written));
            assert!(world.gives_idea().await, "{written:?}");
        }
    }
}

#[tokio::test]
async fn r10_a_cookie_whose_key_is_in_the_keyring_says_what_to_do() {
    let world = World::new(Ideas::seeded(31), Vec::new(), &FIREFOX.replace("firefox", "chrome"), "").await;
    drop(chrome(&world.folder.path().join("profile"), "x", HOST, Written::V11));
    let refused = world.get(super::world::IDEA).await.unwrap_err();
    let text = refused.error.to_string();
    assert!(text.contains("keyring (v11)") && text.contains("name it by `file`"), "{text}");
}

#[tokio::test]
async fn r10_a_store_that_the_browser_holds_is_read_with_what_it_wrote_last() {
    let world = World::new(Ideas::seeded(32), Vec::new(), FIREFOX, "").await;
    let profile = world.folder.path().join("profile/abcd.default-release");
    let store = firefox(&profile, &[(REMEMBER_COOKIE, "of-yesterday", HOST)]);
    // As Firefox has it while it runs: locked, and the newest rows beside the store alone.
    store.execute_batch("PRAGMA locking_mode = EXCLUSIVE; PRAGMA wal_autocheckpoint = 0;").unwrap();
    let sql = "INSERT INTO moz_cookies (originAttributes, name, value, host, path, expiry, creationTime, isSecure, \
               isHttpOnly) VALUES (?1, ?2, ?3, ?4, '/', 4000000000, ?5, 0, 1)";
    let remember = world.site.remember();
    store.execute(sql, params!["", REMEMBER_COOKIE, remember, HOST, 8]).unwrap();
    store.execute(sql, params!["^userContextId=2", REMEMBER_COOKIE, "of-a-container", HOST, 9]).unwrap();
    assert!(
        Connection::open(profile.join("cookies.sqlite"))
            .and_then(|held| held.query_row("SELECT COUNT(*) FROM moz_cookies", [], |row| row.get::<_, i64>(0)))
            .is_err(),
        "it is locked"
    );
    assert!(world.gives_idea().await, "the newest cookie, of no container");
    let left = std::fs::read_dir(world.folder.path().join("spool")).unwrap().count();
    assert_eq!(left, 0, "no copy is left");
    drop(store);
}

#[tokio::test]
async fn r10_what_is_no_store_is_named() {
    let world = World::new(Ideas::seeded(33), Vec::new(), FIREFOX, "").await;
    let why = async || world.get(super::world::IDEA).await.unwrap_err().error.to_string();
    let profile = world.folder.path().join("profile");
    assert!(why().await.contains("no store of cookies in"), "{}", why().await);
    std::fs::create_dir_all(&profile).unwrap();
    std::fs::write(profile.join("cookies.sqlite"), "what is this?".repeat(1_000)).unwrap();
    let text = why().await;
    assert!(text.contains("cookies.sqlite: it is no store of cookies that is known"), "{text}");
    std::fs::remove_file(profile.join("cookies.sqlite")).unwrap();
    drop(firefox(&profile, &[("other", "x", HOST), (REMEMBER_COOKIE, "x", "other.example")]));
    let text = why().await;
    assert!(text.contains("firefox: no cookie remember_web_* for it"), "{text}");
}
