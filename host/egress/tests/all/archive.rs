//! A07: one member of a remote archive, and nothing else of it.

use std::sync::Arc;

use futures::future::join_all;
use http::StatusCode;
use tollgate_core::{
    http::{HttpError, HttpRequest},
    outcome::RefusalKind,
    spec::SitePattern,
};
use tollgate_egress::Caller;
use tollgate_sim::sites::{
    archive::{Archive, Member, ZipFile, filler_name},
    scripted::{Scripted, Step},
};

use crate::world::{HOST, URL, World, file, members};

/// With the four members of their own 60,000, and three gigabytes.
const FILLERS: u32 = 59_996;

#[tokio::test]
async fn a07_three_gigabytes_give_a_member_by_three_requests_and_the_next_by_one() {
    let file = file("hello", FILLERS, 0);
    assert!(file.size() > 3_000_000_000);
    let site = Arc::new(Archive::new(file.clone()));
    let world = World::new(vec![(HOST, site.clone())], "").await;
    let all = members("hello");
    let numbers = world.member("numbers.txt").await.unwrap();
    assert_eq!((numbers.status, numbers.url.as_str(), numbers.site.as_str()), (200, URL, "files.example:80"));
    assert_eq!(numbers.headers, [("etag".to_owned(), "\"v0\"".to_owned())]);
    assert!(numbers.body.bytes().await.unwrap() == all[2].content, "Deflate64");
    let mut expected = file.directory_bytes() + file.member_bytes("numbers.txt");
    assert_eq!((world.requests(), numbers.bytes_received), (3, expected), "{:?}", site.ranges());
    for (number, member) in all.iter().enumerate() {
        let name = String::from_utf8(member.name.clone()).unwrap();
        let response = world.member(&name).await.unwrap();
        assert!(response.body.bytes().await.unwrap() == member.content, "{name}");
        assert_eq!(response.bytes_received, file.member_bytes(&name));
        assert_eq!(world.requests(), 4 + number as u64);
        expected += response.bytes_received;
    }
    let last = world.member(&filler_name(u64::from(FILLERS) - 1)).await.unwrap();
    assert_eq!(last.body.size(), 50_000);
    expected += last.bytes_received;
    // By the server's own count: directory and members, not a byte else of three gigabytes.
    world.sim.wait_for(|counts| counts.bytes >= expected).await;
    assert_eq!(world.sim.counts().bytes, expected);
    assert_eq!(world.sim.counts().direct, 0);
}

#[tokio::test]
async fn a07_sixty_thousand_names_by_two_requests_and_again_by_a_byte() {
    let file = file("hello", FILLERS, 0);
    let world = World::of(Archive::new(file.clone())).await;
    let listed = world.gate.list_zip_members(&world.caller, URL, &|_| {}).await.unwrap();
    assert_eq!((listed.names.len(), listed.bytes_received), (60_000, file.directory_bytes()));
    assert_eq!((listed.names[0].as_str(), world.requests()), ("word.txt", 2));
    let again = world.gate.list_zip_members(&world.caller, URL, &|_| {}).await.unwrap();
    assert_eq!((again.names == listed.names, again.bytes_received, world.requests()), (true, 1, 3));
}

#[tokio::test]
async fn a07_an_archive_past_four_gigabytes_is_zip64_and_read_alike() {
    let file = file("hello", 100_000, 0);
    assert!(file.size() > 5_000_000_000);
    let world = World::of(Archive::new(file.clone())).await;
    assert_eq!(world.content(&filler_name(99_999)).await.len(), 50_000);
    assert_eq!(world.content("word.txt").await, "hello");
    assert_eq!(world.requests(), 4);
}

#[tokio::test]
async fn a07_a_short_archive_takes_two_requests() {
    for fillers in [0, 2, 100] {
        let world = World::of(Archive::new(file("hello", fillers, 0))).await;
        assert_eq!(world.content("word.txt").await, "hello");
        assert_eq!(world.requests(), 2, "its directory is in its last 66 KiB");
    }
}

#[tokio::test]
async fn a07_of_many_who_want_members_at_once_one_reads_the_directory() {
    let file = file("hello", 5_000, 0);
    let world = World::of(Archive::new(file)).await;
    let names: Vec<String> = (0..20).map(filler_name).collect();
    let answers = join_all(names.iter().map(|name| world.member(name))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().body.size() == 50_000));
    assert_eq!(world.requests(), 2 + 20);
}

#[tokio::test]
async fn a07_a_member_is_bounded_by_body_max_and_a_bomb_is_not_read() {
    let mut liar = Member::deflated("liar", vec![0; 10 << 20]);
    liar.size = 1_000;
    let bomb = Member::deflated("bomb", vec![0; 10 << 20]);
    let file = Arc::new(ZipFile::new(&[bomb, liar, Member::stored("small", "small")], 3_000, 0));
    let site: Arc<Archive> = Arc::new(Archive::new(file.clone()));
    let world = World::new(vec![(HOST, site)], "[site.\"*\"]\nbody-max = \"100 kB\"\n").await;
    let bomb = world.member("bomb").await.unwrap_err();
    assert_eq!((bomb.error, bomb.refusal), (HttpError::TooLarge(100_000), None));
    let directory = file.directory_bytes();
    assert_eq!(bomb.bytes_received, directory, "its data isn't read, and the directory may be larger than a body");
    assert!(
        world.why("liar").await.contains("liar in http://files.example/archive.zip: it is more than the 1000 bytes")
    );
    assert_eq!(world.content("small").await, "small");
}

#[tokio::test]
async fn a07_what_cannot_be_read_is_named_and_counted() {
    let mut encrypted = Member::stored("encrypted", "x");
    encrypted.flags = 1;
    let mut wrong = Member::stored("wrong", "x");
    wrong.crc = 7;
    let mut bzip2 = Member::stored("bzip2", "x");
    bzip2.method = 12;
    let file = Arc::new(ZipFile::new(&[encrypted, wrong, bzip2], 3_000, 0));
    let world = World::of(Archive::new(file)).await;
    assert!(world.why("encrypted").await.contains("it is encrypted"));
    assert!(world.why("bzip2").await.contains("bzip2 (method 12)"));
    assert_eq!(world.requests(), 2, "members that can't be read aren't asked for");
    let refused = world.member("wrong").await.unwrap_err();
    assert!(refused.error.to_string().contains("its checksum is"), "{}", refused.error);
    assert_eq!(refused.bytes_received, 30 + 5 + 1);
    assert!(world.why("none").await.ends_with("has no member none"));
}

#[tokio::test]
async fn a07_a_site_that_answers_no_range_says_why() {
    let site = Scripted::new()
        .path("/none.zip", [Step::status(StatusCode::NOT_FOUND)])
        .path("/down.zip", [Step::status(StatusCode::BAD_GATEWAY)])
        .path("/busy.zip", [Step::status(StatusCode::TOO_MANY_REQUESTS)]);
    let world = World::of(site).await;
    let of = async |path: &str| {
        let url = format!("http://{HOST}{path}");
        world.gate.list_zip_members(&world.caller, &url, &|_| {}).await.unwrap_err()
    };
    let none = of("/none.zip").await;
    assert!(none.error.to_string().contains("/none.zip answered 404 to a range"));
    assert_eq!(none.refusal, None);
    assert_eq!(of("/down.zip").await.refusal.unwrap().kind, RefusalKind::ServerError);
    assert_eq!(of("/busy.zip").await.refusal.unwrap().kind, RefusalKind::RateLimited);
    let before = world.requests();
    assert_eq!(of("/none.zip").await.refusal.unwrap().kind, RefusalKind::RateLimited);
    assert_eq!(world.requests(), before, "a site that cools down is asked for no range either");
}

#[tokio::test]
async fn a07_a_kept_directory_opens_nothing_to_whom_its_site_is_shut() {
    let world = World::of(Archive::new(file("hello", 10, 0))).await;
    assert_eq!(world.content("word.txt").await, "hello");
    let before = world.requests();
    let other = SitePattern::Host { host: "other.example".to_owned(), port: None };
    let caller = Caller { allowed: vec![other], ..world.caller.clone() };
    let member = world.gate.fetch_zip_member(&caller, URL, "word.txt", &|_| {}).await.unwrap_err();
    let listed = world.gate.list_zip_members(&caller, URL, &|_| {}).await.unwrap_err();
    assert!(matches!(member.error, HttpError::Denied(_)) && matches!(listed.error, HttpError::Denied(_)));
    assert_eq!(world.requests(), before);
}

#[tokio::test]
async fn a07_a_guests_own_range_is_passed_on() {
    let file = file("hello", 10, 0);
    let world = World::of(Archive::new(file.clone())).await;
    let headers = vec![("Range".to_owned(), "bytes=0-3".to_owned())];
    let request = HttpRequest { method: "GET".into(), url: URL.into(), headers, body: None, timeout: None };
    let response = world.gate.fetch(&world.caller, request, &|_| {}).await.unwrap();
    assert_eq!((response.status, response.body.bytes().await.unwrap().as_ref()), (206, &b"PK\x03\x04"[..]));
    let said = ("content-range".to_owned(), format!("bytes 0-3/{}", file.size()));
    assert!(response.headers.contains(&said));
}

#[tokio::test]
async fn trap12_a_range_is_not_redirected_inside() {
    let targets =
        ["http://127.0.0.1/archive.zip", "http://[::1]/", "http://169.254.169.254/latest/", "http://2130706433/"];
    let site = targets.iter().enumerate().fold(Scripted::new(), |site, (number, target)| {
        site.path(&format!("/{number}.zip"), [Step::redirect(StatusCode::FOUND, target)])
    });
    let world = World::of(site).await;
    for (number, target) in targets.iter().enumerate() {
        let url = format!("http://{HOST}/{number}.zip");
        let member = world.gate.fetch_zip_member(&world.caller, &url, "a", &|_| {}).await.unwrap_err();
        assert!(matches!(member.error, HttpError::Denied(_)), "{target}: {:?}", member.error);
        let listed = world.gate.list_zip_members(&world.caller, &url, &|_| {}).await.unwrap_err();
        assert!(matches!(listed.error, HttpError::Denied(_)), "{target}: {:?}", listed.error);
    }
    let counts = world.sim.counts();
    assert_eq!((counts.total, counts.direct), (2 * targets.len() as u64, 0), "only the first hops were sent");
}
