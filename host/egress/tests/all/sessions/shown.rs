//! No cookie's value in anything that is shown: logs, errors, `Debug`, what guests and people are given.

use std::{fmt::Write as _, sync::PoisonError};

use tollgate_sim::sites::ideas::{Exchange, HOST, Settings, Wall};

use super::world::{IDEA, World, log};

#[tokio::test]
async fn r10_no_cookie_is_shown_anywhere() {
    let mut world = World::with_firefox(40).await;
    let mut said = String::new();
    let mut note = |shown: &dyn std::fmt::Debug| writeln!(said, "{shown:?}").unwrap();
    for wall in [Wall::LoginPage, Wall::Redirect, Wall::Unauthorized] {
        world.site.set(Settings { wall, rotates: true, ..Settings::default() });
        note(&world.get(IDEA).await.unwrap());
        world.site.expire();
        note(&world.get(IDEA).await.unwrap());
        note(&world.gate.sessions());
    }
    note(&world.gate.test_session("ideas").await.unwrap());
    note(&world.gate.renew_session("ideas").await.unwrap());
    world.restart();
    note(&world.get(IDEA).await.unwrap());
    for exchange in [Exchange::GivesDead, Exchange::Down, Exchange::Forgets] {
        world.site.set(Settings { exchange, ..Settings::default() });
        world.site.expire();
        note(&world.get(IDEA).await.unwrap_err());
        let _renewed = world.gate.renew_session("ideas").await.inspect_err(|error| note(error));
        note(&world.gate.sessions());
    }
    world.drop_file(&world.site.cookie_file(Some("session-of-a-file-0123456789"), false));
    note(&world.get(IDEA).await.unwrap_err());
    world.drop_file(&format!("{HOST}\tFALSE\t/\tFALSE\tsoon\tideas_session\tsession-of-a-file-0123456789\n"));
    note(&world.get(IDEA).await.unwrap_err());
    note(&world.gate.status());
    // Every session of this site begins so; each of the world's others has another seed and cookie.
    let remember = world.site.remember();
    let logged = log().lock().unwrap_or_else(PoisonError::into_inner).clone();
    let logged = String::from_utf8_lossy(&logged).into_owned();
    assert!(logged.contains("a session is there") && logged.contains("no session is to be had"), "the log is read");
    for (place, text) in [("log", &logged), ("shown", &said)] {
        for secret in [&remember, "session-1-", "session-2-", "session-of-a-file-0123456789", "a-guests-own"] {
            let at = text.find(secret);
            let around = at.map(|at| text[at.saturating_sub(200)..].chars().take(400).collect::<String>());
            assert_eq!(around, None, "{place}: {secret}");
        }
    }
    let kept = std::fs::read_dir(world.folder.path().join("sessions")).unwrap().flatten();
    for file in kept {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}
