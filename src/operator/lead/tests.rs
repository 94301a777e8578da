#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn candidate(identity: &str) -> Candidate {
    let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
    let options = LeaseOptions {
        namespace: "system".to_owned(),
        name: "operator".to_owned(),
        identity: identity.to_owned(),
    };
    Candidate::new(Client::try_from(config).unwrap(), options)
}

fn held_by(identity: &str) -> LeaseSpec {
    candidate(identity).record(LeaseSpec::default())
}

#[tokio::test]
async fn a_free_lease_and_ones_own_may_be_taken() {
    let mut one = candidate("one");
    assert!(one.may_take(&LeaseSpec::default(), Instant::now()));
    assert!(one.may_take(&held_by("one"), Instant::now()));
}

#[tokio::test]
async fn anothers_lease_is_taken_only_when_it_was_not_renewed_for_its_duration() {
    let mut two = candidate("two");
    let (start, mut held) = (Instant::now(), held_by("one"));
    assert!(!two.may_take(&held, start));
    assert!(!two.may_take(&held, start + DURATION - Duration::from_millis(1)));
    held.renew_time = Some(MicroTime(Timestamp::MAX));
    assert!(
        !two.may_take(&held, start + DURATION),
        "it was renewed, whatever the clock of its holder says"
    );
    assert!(two.may_take(&held, start + DURATION * 2));
}

#[tokio::test]
async fn a_lease_that_somebody_handed_over_by_force_is_taken_when_its_holder_had_time_to_notice() {
    let (mut two, start) = (candidate("two"), Instant::now());
    assert!(!two.may_take(&held_by("one"), start));
    let handed = held_by("two");
    assert!(!two.may_take(&handed, start));
    assert!(!two.may_take(&handed, start + DURATION - Duration::from_millis(1)));
    assert!(two.may_take(&handed, start + DURATION));
}

#[tokio::test]
async fn a_lease_that_changes_hands_counts_it() {
    let taken = candidate("two").record(held_by("one"));
    assert_eq!(taken.holder_identity.as_deref(), Some("two"));
    assert_eq!(taken.lease_transitions, Some(2));
    let renewed = candidate("two").record(taken.clone());
    assert_eq!(renewed.lease_transitions, Some(2));
    assert_eq!(renewed.acquire_time, taken.acquire_time);
}

#[tokio::test]
async fn who_waits_tells_the_same_trouble_once_a_minute() {
    let (mut one, start) = (candidate("one"), Instant::now());
    assert!(one.is_news("away", start));
    assert!(!one.is_news("away", start + RETRY_EVERY));
    assert!(one.is_news("forbidden", start + RETRY_EVERY));
    assert!(one.is_news("forbidden", start + RETRY_EVERY + TELL_AGAIN));
}
