#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

fn candidate(identity: &str) -> Candidate {
    let config = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    Candidate {
        api: Api::namespaced(client, "default"),
        options: LeaseOptions {
            namespace: "default".to_owned(),
            name: "busway-test".to_owned(),
            identity: identity.to_owned(),
            create: false,
        },
        leads: watch::channel(false).0,
        observed: None,
        renewed: None,
        trouble: Trouble::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn anothers_lease_is_taken_only_when_its_record_stood_still_on_our_clock() {
    let mut theirs = candidate("them").record(None);
    // Their clock is a day behind: it does not count.
    theirs.renew_time = Some(MicroTime(Timestamp::UNIX_EPOCH));
    let mut us = candidate("us");
    assert!(!us.may_take(&theirs, Instant::now()));
    tokio::time::advance(DURATION - Duration::from_secs(1)).await;
    assert!(!us.may_take(&theirs, Instant::now()));

    theirs.renew_time = Some(MicroTime(Timestamp::now()));
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(!us.may_take(&theirs, Instant::now()), "it was renewed");
    tokio::time::advance(DURATION).await;
    assert!(us.may_take(&theirs, Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_somebody_handed_over_by_force_is_taken_when_its_holder_had_time_to_notice() {
    let (mut us, handed) = (candidate("us"), candidate("us").record(None));
    assert!(!us.may_take(&candidate("them").record(None), Instant::now()));
    assert!(!us.may_take(&handed, Instant::now()));
    tokio::time::advance(DURATION - Duration::from_millis(1)).await;
    assert!(!us.may_take(&handed, Instant::now()));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(us.may_take(&handed, Instant::now()));
    // A process that was started again finds its own.
    assert!(candidate("us").may_take(&handed, Instant::now()));
}

#[tokio::test]
async fn a_lease_given_back_is_taken_at_once() {
    let mut free = candidate("them").record(None);
    free.holder_identity = None;
    assert!(candidate("us").may_take(&free, Instant::now()));
}

#[tokio::test]
async fn taking_over_counts_and_renewing_does_not() {
    let theirs = candidate("them").record(None);
    let taken = candidate("us").record(Some(theirs.clone()));
    assert_eq!(
        taken.lease_transitions,
        theirs.lease_transitions.map(|n| n + 1)
    );
    let renewed = candidate("us").record(Some(taken.clone()));
    assert_eq!(renewed.lease_transitions, taken.lease_transitions);
    assert_eq!(renewed.acquire_time, taken.acquire_time);
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_renew_steps_down_before_others_may_take_over() {
    let mut us = candidate("us");
    us.renewed = Some(Instant::now());
    let leads = us.leads.subscribe();
    us.settle(RENEW_EVERY);
    assert!(*leads.borrow());
    tokio::time::advance(RENEW_DEADLINE - Duration::from_secs(1)).await;
    assert!(
        us.settle(RENEW_EVERY) <= Duration::from_secs(1),
        "no pause goes past the deadline"
    );
    assert!(*leads.borrow());
    tokio::time::advance(Duration::from_secs(1)).await;
    us.settle(RENEW_EVERY);
    assert!(!*leads.borrow());
    const { assert!(RENEW_DEADLINE.as_secs() < DURATION.as_secs()) };
}

#[test]
fn lease_names_fit_and_stay_apart() {
    assert_eq!(lease_name(None, "main"), "busway-main");
    assert_eq!(lease_name(Some("shop"), "main"), "busway.shop.main");
    assert_ne!(lease_name(Some("a-b"), "c"), lease_name(Some("a"), "b-c"));
    assert_ne!(
        lease_name(Some("shop"), "main"),
        lease_name(None, "shop-main")
    );
    let one = lease_name(Some("shop"), &"a".repeat(80));
    let other = lease_name(Some("shop"), &format!("{}b", "a".repeat(79)));
    assert!(one.len() <= MAX_NAME && other.len() <= MAX_NAME);
    assert_ne!(one, other);
}

#[test]
fn a_process_without_a_pod_has_a_name_of_its_own() {
    assert_eq!(identity(Some("pod-1")), "pod-1");
    assert!(identity(None).ends_with(&format!("-{}", std::process::id())));
}
