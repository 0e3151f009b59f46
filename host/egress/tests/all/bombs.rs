//! R06: bodies that unpack to a thousand times what was sent end at `body-max`, and take no memory.

use std::{process::Command, sync::Arc};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::header::CONTENT_ENCODING;
use tollgate_core::http::HttpError;
use tollgate_sim::{
    Sim,
    sites::scripted::{Scripted, Step},
};

use crate::world::World;

/// Bytes that each bomb unpacks to, at least.
const UNPACKED: usize = 1 << 30;
/// A gibibyte of zeros by brotli, of quality 11, in 1,681 bytes.
const BROTLI: &[u8] = include_bytes!("bombs/gibibyte.br");
/// Most that the process may grow by while bombs of four gibibytes are unpacked up to half a gigabyte each.
const GROWTH_MAX: u64 = 100 << 20;
/// Says that this process is the one that is measured: no other test runs in it.
const MEASURED: &str = "TOLLGATE_TEST_BOMBS";

/// Bodies of zeros in each coding that the gate takes, with the coding's name.
pub(crate) fn bombs(unpacked: usize) -> Vec<(&'static str, Bytes)> {
    vec![("gzip", gzip(unpacked)), ("deflate", deflate(unpacked)), ("br", BROTLI.into()), ("zstd", zstd(unpacked))]
}

fn zeros(packer: &mut impl std::io::Write, bytes: usize) {
    let piece = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        packer.write_all(&piece).unwrap();
    }
}

fn gzip(unpacked: usize) -> Bytes {
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    zeros(&mut packer, unpacked);
    packer.finish().unwrap().into()
}

fn deflate(unpacked: usize) -> Bytes {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::best());
    zeros(&mut packer, unpacked);
    packer.finish().unwrap().into()
}

/// RFC 8878 section 3.1.1: a frame with a window of 8 MiB, and blocks that are one byte, 128 KiB times.
fn zstd(unpacked: usize) -> Bytes {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 13 << 3];
    let blocks = unpacked >> 17;
    for block in 1..=blocks {
        let header = u32::from(block == blocks) | 1 << 1 | 1 << (17 + 3);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame.into()
}

/// The most memory that this process ever had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn r06_a_decompression_bomb_ends_at_body_max_and_takes_no_memory() {
    if std::env::var_os(MEASURED).is_none() {
        let mut alone = Command::new(std::env::current_exe().unwrap());
        let name = "bombs::r06_a_decompression_bomb_ends_at_body_max_and_takes_no_memory";
        alone.args(["--exact", name]).env(MEASURED, "1");
        let output = tokio::task::spawn_blocking(move || alone.output().unwrap()).await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        return;
    }
    let body_max = 512_000_000;
    let site = bombs(UNPACKED).into_iter().fold(Scripted::new(), |site, (coding, bomb)| {
        site.path(&format!("/{coding}"), [Step::ok(bomb).header(CONTENT_ENCODING, coding)])
    });
    let sim = Sim::builder().site("bombs.example", Arc::new(site));
    let world = World::built(sim, Sim::proxy_url, "[site.\"*\"]\nbody-max = \"512 MB\"\ntimeout = \"5min\"\n").await;
    let before = peak();
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let refused = world.fetch(&format!("http://bombs.example/{coding}")).await.unwrap_err();
        assert_eq!(refused.error, HttpError::TooLarge(body_max), "{coding}");
        assert!(refused.bytes_received > body_max - (1 << 20), "{coding}: {} bytes", refused.bytes_received);
        let grown = peak() - before;
        assert!(grown < GROWTH_MAX, "{coding}: {} MiB more than before", grown >> 20);
    }
    assert!(world.sim.counts().bytes < 4 << 20, "what was sent is small");
}
