//! Trap 15: servers that lie about ranges. A way round where there is one, else an error that says what they did.

use http::StatusCode;
use tollgate_core::{http::HttpError, outcome::RefusalKind};
use tollgate_sim::sites::archive::{Archive, Lie, Validator};

use crate::world::{URL, World, file, is_connection};

/// Enough for a directory that is more than the file's last 66 KiB.
const FILLERS: u32 = 3_000;

async fn lying(lie: Lie) -> World {
    World::of(Archive::new(file("hello", FILLERS, 0)).lying(lie)).await
}

#[tokio::test]
async fn trap15_the_whole_file_for_a_range_is_not_downloaded() {
    let world = World::of(Archive::new(file("hello", 60_000, 0)).lying(Lie::Whole)).await;
    let refused = world.member("word.txt").await.unwrap_err();
    assert!(refused.error.to_string().contains("answered 200 to a range"), "{}", refused.error);
    assert_eq!((refused.bytes_received, refused.refusal), (0, None));
    // What was on its way when the connection was closed: the system's buffers, of three gigabytes.
    world.sim.wait_for(|counts| counts.bytes > 0).await;
    assert!(world.sim.counts().bytes < 100_000_000, "{}", world.sim.counts().bytes);
}

#[tokio::test]
async fn trap15_ranges_that_no_header_promises_are_used() {
    let world = lying(Lie::Silent).await;
    assert_eq!(world.content("word.txt").await, "hello");
    assert_eq!(world.requests(), 3);
}

#[tokio::test]
async fn trap15_without_suffix_ranges_the_length_is_asked_for() {
    let statuses = [StatusCode::NOT_IMPLEMENTED, StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::BAD_REQUEST];
    for lie in statuses.map(Lie::NoSuffix).into_iter().chain([Lie::WholeForSuffix]) {
        let world = lying(lie.clone()).await;
        assert_eq!(world.content("word.txt").await, "hello", "{lie:?}");
        // The suffix range, a byte for the length, and then as ever.
        assert_eq!(world.requests(), 2 + 3, "{lie:?}");
        assert_eq!(world.content("word.txt").await, "hello");
        assert_eq!(world.requests(), 6);
    }
}

#[tokio::test]
async fn trap15_a_signed_url_is_fetched_anew_for_each_range() {
    let world = lying(Lie::SignedUrl).await;
    let first = world.member("word.txt").await.unwrap();
    assert!(first.url.contains("/signed?token=3"), "{}", first.url);
    assert_eq!(world.requests(), 2 * 3);
    assert_eq!(world.content("long.txt").await.len(), 18_000);
    assert_eq!(world.requests(), 2 * 4, "the directory is kept under the address asked for");
}

#[tokio::test]
async fn trap15_a_content_range_that_was_not_asked_for_is_refused() {
    for (lie, said) in [(Lie::Shifted, "Content-Range"), (Lie::LongerTotal(1_000), "Content-Range")] {
        let world = lying(lie.clone()).await;
        let refused = world.member("word.txt").await.unwrap_err();
        let text = refused.error.to_string();
        assert!(text.contains(said) && text.contains(URL), "{lie:?}: {text}");
        assert_eq!(refused.bytes_received, 0, "its body isn't read");
    }
}

#[tokio::test]
async fn trap15_a_body_shorter_or_longer_than_its_range_is_refused() {
    let short = lying(Lie::Short).await.member("word.txt").await.unwrap_err();
    assert!(short.error.to_string().contains("33792 bytes before its end"), "{}", short.error);
    assert_eq!(short.refusal.unwrap().kind, RefusalKind::Transport);
    let long = lying(Lie::Long).await.member("word.txt").await.unwrap_err();
    assert!(long.error.to_string().contains("more bytes than that"), "{}", long.error);
}

#[tokio::test]
async fn trap15_a_page_for_a_range_is_not_content() {
    let refused = lying(Lie::Page).await.member("word.txt").await.unwrap_err();
    let HttpError::NotContent(text) = refused.error else {
        panic!("{:?}", refused.error);
    };
    assert!(text.contains("text/html") && text.contains(URL), "{text}");
}

#[tokio::test]
async fn trap15_a_compressed_range_is_read_where_it_can_be() {
    let world = lying(Lie::Gzip).await;
    assert_eq!(world.content("word.txt").await, "hello");
    assert_eq!(world.requests(), 3);
    let refused = lying(Lie::CallsItGzip).await.member("word.txt").await.unwrap_err();
    assert!(is_connection(&refused.error) && refused.error.to_string().contains("gzip"), "{}", refused.error);
}

#[tokio::test]
async fn trap15_a_file_replaced_between_two_ranges_is_read_anew() {
    let cases = [
        // After the file's end, after its directory, after a first member.
        (1, 0, 5),
        (2, 0, 6),
        (3, 1, 3 + 1 + 3),
    ];
    for validator in [Validator::Etag, Validator::LastModified, Validator::WeakEtag] {
        for (after, read_before, requests) in cases {
            let other = file("HELLO", FILLERS, 1);
            for lie in [Lie::ReplacedAfter(after, other.clone()), Lie::ReplacedBlindly(after, other.clone())] {
                let site = Archive::new(file("hello", FILLERS, 0)).lying(lie).validator(validator);
                let world = World::of(site).await;
                for _ in 0..read_before {
                    assert_eq!(world.content("long.txt").await, "hello ".repeat(3_000));
                }
                assert_eq!(world.content("long.txt").await, "HELLO ".repeat(3_000), "{validator:?} {after}");
                assert_eq!(world.requests(), requests, "{validator:?} {after}");
            }
        }
    }
}

#[tokio::test]
async fn trap15_a_list_is_of_the_file_as_it_is() {
    for validator in [Validator::Etag, Validator::None] {
        let other = file("other", FILLERS + 1, 0);
        let site = Archive::new(file("hello", FILLERS, 0)).lying(Lie::ReplacedAfter(2, other)).validator(validator);
        let world = World::of(site).await;
        for members in [3_004, 3_005] {
            let listed = world.gate.list_zip_members(&world.caller, URL, &|_| {}).await.unwrap();
            assert_eq!(listed.names.len(), members, "{validator:?}");
        }
    }
}

#[tokio::test]
async fn trap15_without_a_validator_a_kept_directory_gives_no_mix() {
    let other = file("HELLO", FILLERS, 1);
    let site = |after| {
        let lie = Lie::ReplacedAfter(after, other.clone());
        Archive::new(file("hello", FILLERS, 0)).lying(lie).validator(Validator::None)
    };
    let world = World::of(site(3)).await;
    assert_eq!(world.content("word.txt").await, "hello");
    assert_eq!(world.content("word.txt").await, "HELLO", "its checksum shows that it is another file");
    assert_eq!(world.requests(), 3 + 1 + 3);
    // Between directory and member of one call: refused.
    assert!(World::of(site(2)).await.why("word.txt").await.contains("checksum"));
}

#[tokio::test]
async fn trap15_a_file_that_is_replaced_again_and_again_is_given_up() {
    let world = lying(Lie::Flapping(file("HELLO", FILLERS, 1))).await;
    let refused = world.member("word.txt").await.unwrap_err();
    assert!(refused.error.to_string().contains("was replaced by another file while it was read, and again"));
    assert_eq!(refused.refusal.unwrap().kind, RefusalKind::Transport);
    assert_eq!(world.requests(), 4);
}

#[tokio::test]
async fn trap15_a_server_that_fails_each_condition_is_given_none() {
    let world = lying(Lie::ConditionsFail).await;
    assert_eq!(world.content("word.txt").await, "hello");
    assert_eq!(world.requests(), 4, "the rest of the directory is asked for twice");
    assert_eq!(world.content("word.txt").await, "hello");
    assert_eq!(world.requests(), 5);
}
