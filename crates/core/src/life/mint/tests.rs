use rstest::rstest;

use super::*;
use crate::{
    inputs::{lifetime::Lifetime, proxy::Settings},
    record::{renewal::Renewal, state::tests::least},
};

fn at(hour: &str) -> Option<Timestamp> {
    Some(format!("2026-11-26T{hour}:00:00Z").parse().expect("a time"))
}

/// In each case, the API server issued the token at 10:00.
#[rstest]
#[case::sooner(at("10"), None, None, at("12"), Some(("2026-11-26 10:00", "2026-11-26 12:00")))]
#[case::later(at("13"), None, None, at("12"), None)]
#[case::together(at("12"), None, None, at("12"), None)]
#[case::unknown(None, None, None, at("12"), None)]
#[case::after_the_job(at("11"), at("11"), None, at("12"), None)]
#[case::before_the_job_ends(at("10"), at("11"), None, at("12"), Some(("2026-11-26 10:00", "2026-11-26 12:00")))]
#[case::sooner_in_a_long_job(at("11"), at("13"), None, at("12"), Some(("2026-11-26 11:00", "2026-11-26 12:00")))]
#[case::renewed_until_the_job_ends(at("13"), at("12"), Some(4), at("12"), None)]
#[case::while_it_is_renewed(at("13"), None, Some(4), at("12"), Some(("2026-11-26 13:00", "2026-11-26 14:00")))]
#[case::after_it_was_renewed(at("15"), None, Some(4), at("12"), None)]
fn a_minter_that_expires_before_the_token_is_a_warning_with_both_times(
    #[case] minter: Option<Timestamp>,
    #[case] revoked_by: Option<Timestamp>,
    #[case] renewed_for: Option<u64>,
    #[case] token: Option<Timestamp>,
    #[case] times: Option<(&str, &str)>,
) {
    let mut state = least();
    state.receipt.minted = at("10");
    state.receipt.expires = token;
    state.renewal = renewed_for.map(|hours| Renewal {
        lifetime: Lifetime::parse("2h").expect("a lifetime"),
        seconds: hours * 3600,
    });
    let warning = outlived(minter, revoked_by, &state);
    assert_eq!(warning.is_some(), times.is_some(), "{warning:?}");
    if let (Some(warning), Some((minter, token))) = (warning, times) {
        assert!(warning.contains(minter) && warning.contains(token), "{warning}");
    }
}

/// With a proxy, the input `renew-for` is an error.
#[test]
fn a_minter_that_expires_before_the_proxy_closes_needs_a_shorter_duration() {
    let mut state = least();
    state.receipt.minted = at("10");
    state.renewal = Some(Renewal {
        lifetime: Lifetime::parse("10m").expect("a lifetime"),
        seconds: 4 * 3600,
    });
    let warning = |state: &State| outlived(at("13"), None, state).expect("a warning");
    assert!(warning(&state).ends_with("or a shorter `renew-for`"));
    state.proxy = Some(Settings::default());
    assert!(warning(&state).ends_with("or a shorter `duration`"));
}

fn error() -> Error {
    Error::new(Kind::Interrupted, "interrupted")
}

#[rstest]
#[case::refused(Delivery::Failed(error()), Creation::Impossible, None, true)]
#[case::no_answer(Delivery::Failed(error()), Creation::OfAnchor, None, false)]
#[case::deleted(Delivery::Failed(error()), Creation::OfToken, Some("uid"), true)]
#[case::interrupted(Delivery::Interrupted(error()), Creation::OfToken, Some("uid"), true)]
#[case::still_writing(Delivery::Stuck(error()), Creation::OfToken, Some("uid"), false)]
fn after_a_failure_the_state_is_forgotten_only_if_nothing_can_come_to_be(
    #[case] delivery: Delivery,
    #[case] creation: Creation,
    #[case] uid: Option<&str>,
    #[case] certain: bool,
) {
    let mut state = least();
    state.receipt.anchor_uid = uid.map(str::to_owned);
    assert_eq!(is_certain(&delivery, creation, &state), certain);
}

async fn delivery(work: impl FnOnce() -> Result<Vec<String>, Error> + Send + 'static) -> Delivery {
    let mut interrupt = Interrupt::listen().expect("signals");
    finish_or_stop(tokio::task::spawn_blocking(work), &mut interrupt).await
}

/// After a panic, the delivery's files may exist, so jobpass removes them. A delivery that failed without a
/// panic has removed its own files.
#[tokio::test]
async fn deliveries_end() {
    assert!(matches!(delivery(|| Ok(vec!["a".into()])).await, Delivery::Done(warnings) if warnings == ["a"]));
    assert!(matches!(delivery(|| Err(error())).await, Delivery::Failed(_)));
    assert!(
        matches!(delivery(|| panic!("as a test")).await, Delivery::Interrupted(error) if error.kind() == Kind::Internal)
    );
}
