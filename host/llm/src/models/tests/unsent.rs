//! Calls that wait, and those of which nothing is sent: they give back their turn, and say how far they are.

use super::*;
use crate::hosting::{CallPhase, SendError};
use tollgate_core::outcome::Refusal;

/// Nothing was sent, for such a reason.
fn unsent(kind: RefusalKind, after: Duration) -> SendError {
    let (about, message) = ("endpoint near".to_owned(), "it is so".to_owned());
    let refusal = Refusal { kind, about, message, after: Some(after) };
    SendError::NotSent { message: "it is so".to_owned(), refusal: Some(refusal) }
}

async fn ask_for(models: &Arc<Models>, host: &Arc<Host>, what: &str) -> Result<Completion, Refused> {
    let prompt = Prompt { instruction: what.to_owned(), ..Prompt::default() };
    models.complete("a", prompt, None, host.purse(), None).await
}

#[tokio::test]
async fn r07_a_call_of_which_nothing_was_sent_gives_back_its_request_and_one_that_its_provider_got_does_not() {
    let after = Duration::from_secs(5);
    for (reply, is_answered) in [(said("3"), true), (failed(), false)] {
        let unsent = [RefusalKind::Down, RefusalKind::RateLimited].map(|kind| Err(unsent(kind, after)));
        let host = Host::new(unsent.into_iter().chain([Ok(reply)]));
        let models =
            models(&host, &model("a", &format!("{PRICED}requests = \"1/d\"\ntokens = \"9000/d\"\n")), Vec::new());
        let down = ask(&models, &host).await.unwrap_err();
        assert!(matches!(down.error, ServiceError::Unavailable(_)), "{down:?}");
        let waits = ask(&models, &host).await.unwrap_err();
        assert!(matches!(waits.error, ServiceError::RateLimited { after: Some(told) } if told == after), "{waits:?}");
        assert_eq!((kind(&down), kind(&waits)), (Some(RefusalKind::Down), Some(RefusalKind::RateLimited)));
        assert_eq!(ask(&models, &host).await.is_ok(), is_answered);
        let used_up = ask_for(&models, &host, "Count on.").await.unwrap_err();
        assert!(matches!(used_up.error, ServiceError::RateLimited { .. }), "{used_up:?}");
        assert_eq!(host.sent().len(), 3, "the provider has counted one");
        assert!(host.rows()[..2].iter().all(|row| row.told() == (How::Refused, NOTHING, false)));
    }
}

#[tokio::test]
async fn a_call_waits_until_it_is_sent_and_says_so_whichever_model_it_asks() {
    let host = Host::new([Ok(quota()), Ok(said("4"))]);
    let text = model("a", &format!("{PRICED}fall-back = [\"b\"]\n")) + &model("b", PRICED);
    let reserving = Reserving::new();
    *lock(&host.reserving) = Some(reserving.clone());
    let models = models(&host, &text, Vec::new());
    let asking = tokio::spawn({
        let (models, host) = (models.clone(), host.clone());
        async move { ask(&models, &host).await }
    });
    let phase = |about: &str, phase| (about.to_owned(), phase);
    let mut wanted = Vec::new();
    for about in ["model a", "model b"] {
        reserving.begun.acquire().await.unwrap().forget();
        wanted.push(phase(about, CallPhase::Waits));
        assert_eq!(host.phases(), wanted, "the ledger is waited for");
        reserving.goes_on.add_permits(1);
        wanted.push(phase(about, CallPhase::Runs));
    }
    asking.await.unwrap().unwrap();
    assert_eq!(host.phases(), wanted);
}

#[tokio::test]
async fn trap09_a_call_that_waits_for_a_place_is_held_back_by_what_another_was_refused_with() {
    let host = Host::answers([said("3")]);
    let models = models(&host, &model("a", &format!("{PRICED}requests = \"1/d\"\n")), Vec::new());
    let a_while = Duration::from_secs(2);
    let until = host.clock.now().after(a_while);
    let theirs = models.clone();
    *lock(&host.meanwhile) = Some(Box::new(move || {
        let account = &theirs.models["a"].payee.account;
        theirs.calls.paces.cool(account, Cooling { until, reason: "slow down".to_owned(), is_terminal: false });
    }));
    let refused = ask(&models, &host).await.unwrap_err();
    assert!(matches!(refused.error, ServiceError::RateLimited { after: Some(told) } if told == a_while), "{refused:?}");
    assert_eq!((host.sent().len(), host.rows()[0].told()), (0, (How::Refused, NOTHING, false)));
    assert!(host.phases().iter().all(|(_, phase)| *phase == CallPhase::Waits));
    host.clock.move_by(a_while);
    assert_eq!(ask(&models, &host).await.unwrap().text, "3", "its request of the day is still there");
}
