use proptest::prelude::*;

use super::*;

fn backoff(policy: BackoffPolicy, jitter: Jitter) -> Backoff {
    Backoff {
        policy,
        jitter,
        ..Backoff::default()
    }
}

fn millis(backoff: Backoff, retries: std::ops::RangeInclusive<u32>) -> Vec<u128> {
    retries.map(|n| backoff.wait(n, 0).as_millis()).collect()
}

#[test]
fn linear_and_exponential_grow_as_specified_and_are_capped() {
    let linear = backoff(BackoffPolicy::Linear, Jitter::None);
    assert_eq!(millis(linear, 1..=4), [200, 400, 600, 800]);
    assert_eq!(millis(linear, 299..=302), [59_800, 60_000, 60_000, 60_000]);
    let exponential = backoff(BackoffPolicy::Exponential, Jitter::None);
    assert_eq!(millis(exponential, 1..=5), [200, 400, 800, 1_600, 3_200]);
    assert_eq!(millis(exponential, 9..=10), [51_200, 60_000]);
    assert_eq!(
        millis(exponential, u32::MAX - 1..=u32::MAX),
        [60_000, 60_000]
    );
}

#[test]
fn attempts_are_retry_plus_one() {
    let policy = DeliveryPolicy {
        retry: 2,
        ..DeliveryPolicy::default()
    };
    let tries = (1..10)
        .take_while(|n| matches!(next(&policy, *n, None, 0), Next::After(_)))
        .count();
    assert_eq!(tries, 2);
    assert_eq!(
        next(&policy, 3, Some(Duration::from_secs(1)), 0),
        Next::DeadLetter(Cause::Exhausted)
    );
    let never = DeliveryPolicy { retry: 0, ..policy };
    assert_eq!(next(&never, 1, None, 0), Next::DeadLetter(Cause::Exhausted));
}

#[test]
fn retry_after_lengthens_and_is_capped() {
    let policy = DeliveryPolicy::default();
    let at = |secs| next(&policy, 1, Some(Duration::from_secs(secs)), u64::MAX);
    assert_eq!(at(7), Next::After(Duration::from_secs(7)));
    assert_eq!(at(86_400), Next::After(Duration::from_mins(5)));
    assert!(matches!(at(0), Next::After(wait) if wait >= Duration::from_millis(100)));
}

#[test]
fn age_counts_from_acceptance_and_a_clock_set_back_expires_nothing() {
    let policy = DeliveryPolicy {
        max_age: Some(Duration::from_secs(10)),
        ..DeliveryPolicy::default()
    };
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    assert!(!expired(&policy, then, then + Duration::from_secs(10)));
    assert!(expired(&policy, then, then + Duration::from_secs(11)));
    assert!(!expired(&policy, then, then - Duration::from_secs(500)));
}

#[test]
fn values_at_their_limits_neither_overflow_nor_pass_the_cap() {
    let limits = [
        Duration::ZERO,
        Duration::from_nanos(1),
        crate::duration::LONGEST,
        Duration::MAX,
    ];
    for policy in [BackoffPolicy::Linear, BackoffPolicy::Exponential] {
        for jitter in [Jitter::None, Jitter::Equal, Jitter::Full] {
            for (delay, max) in limits
                .iter()
                .flat_map(|d| limits.iter().map(move |m| (*d, *m)))
            {
                let backoff = Backoff {
                    policy,
                    delay,
                    max,
                    jitter,
                };
                for n in [0, 1, 2, 32, 33, u32::MAX] {
                    for random in [0, u64::MAX] {
                        let wait = backoff.wait(n, random);
                        assert!(wait <= max, "{backoff:?} {n} {random}: {wait:?}");
                    }
                }
            }
        }
    }
    let policy = DeliveryPolicy {
        retry: u32::MAX,
        retry_after_max: Duration::ZERO,
        max_age: Some(Duration::ZERO),
        ..DeliveryPolicy::default()
    };
    let asked = Some(Duration::MAX);
    assert!(matches!(
        next(&policy, u32::MAX, asked, 0),
        Next::After(wait) if wait <= policy.backoff.max
    ));
    let then = SystemTime::UNIX_EPOCH;
    assert!(!expired(&policy, then, then));
    assert!(expired(&policy, then, then + Duration::from_nanos(1)));
}

proptest! {
    #[test]
    fn jitter_stays_in_its_interval(
        n in any::<u32>(), random in any::<u64>(),
        delay in 0u64..1_000_000, max in 0u64..1_000_000,
        linear in any::<bool>(),
    ) {
        let policy = if linear { BackoffPolicy::Linear } else { BackoffPolicy::Exponential };
        let base = Backoff {
            policy,
            delay: Duration::from_millis(delay),
            max: Duration::from_millis(max),
            jitter: Jitter::None,
        };
        let whole = base.wait(n, random);
        prop_assert!(whole <= base.max);
        let full = Backoff { jitter: Jitter::Full, ..base }.wait(n, random);
        prop_assert!(full <= whole);
        let equal = Backoff { jitter: Jitter::Equal, ..base }.wait(n, random);
        prop_assert!(equal >= whole / 2 && equal <= whole);
    }

    #[test]
    fn waits_never_shrink_without_jitter(n in 1u32..1_000, linear in any::<bool>()) {
        let policy = if linear { BackoffPolicy::Linear } else { BackoffPolicy::Exponential };
        let base = backoff(policy, Jitter::None);
        prop_assert!(base.wait(n + 1, 0) >= base.wait(n, 0));
    }
}
