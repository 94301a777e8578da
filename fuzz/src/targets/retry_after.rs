//! `Retry-After`, and what becomes of it.

use std::time::{Duration, SystemTime};

use busway_core::{
    outcome::Cause,
    pacing::{Next, next},
    policy::DeliveryPolicy,
    retry_after::parse,
};

pub(super) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000);
    let asked = parse(&text, now);
    if let Ok(seconds) = text.parse::<u64>()
        && !text.starts_with('+')
    {
        assert_eq!(asked, Some(Duration::from_secs(seconds)));
    }
    let policy = DeliveryPolicy::default();
    // The last attempt of a policy, and the one after it.
    for (attempts, random) in [(1, 0), (policy.retry, u64::MAX), (policy.retry + 1, 1)] {
        match next(&policy, attempts, asked, random) {
            Next::After(wait) => {
                assert!(attempts <= policy.retry);
                assert!(wait <= policy.retry_after_max.max(policy.backoff.max));
                assert!(wait >= asked.unwrap_or_default().min(policy.retry_after_max));
            }
            Next::DeadLetter(cause) => {
                assert_eq!((attempts, cause), (policy.retry + 1, Cause::Exhausted));
            }
        }
    }
}
