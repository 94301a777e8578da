//! Waiting for a condition, with a deadline that says what was last seen.

use std::{fmt::Display, time::Duration};

use tokio::time::Instant;

/// The first pause between two looks; it grows by half each time.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// The longest pause: short for a person, long for a CPU.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Waits until `look` is `Ok` and returns its value. `Err` says what there was instead.
///
/// Time is tokio's: virtual where a test pauses it.
///
/// # Errors
/// Names `what`, the deadline and what was last seen when `deadline` passes; a look that itself does not return is
/// cut off there too.
pub async fn until<T, E, F, Fut>(what: &str, deadline: Duration, mut look: F) -> anyhow::Result<T>
where
    E: Display,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    let mut seen = "nothing: the first look did not return".to_owned();
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(instead)) => seen = instead.to_string(),
            Err(_) => {}
        }
        if started.elapsed() >= deadline {
            anyhow::bail!("gave up after {deadline:?} waiting until {what}; last seen: {seen}");
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[tokio::test]
    async fn a_condition_that_comes_true_ends_the_wait_with_its_value() {
        let mut looks = 0;
        let found = until("three looks", Duration::from_secs(5), || {
            looks += 1;
            let now = looks;
            async move {
                if now == 3 {
                    Ok(now)
                } else {
                    Err(format!("{now} looks"))
                }
            }
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn a_wait_that_ends_says_what_it_last_saw() {
        let gone = until("the moon is blue", Duration::from_millis(30), || async {
            Err::<(), _>("it is white")
        });
        let said = gone.await.unwrap_err().to_string();
        assert!(said.contains("the moon is blue"), "{said}");
        assert!(said.contains("last seen: it is white"), "{said}");
    }

    #[tokio::test]
    async fn a_look_that_hangs_is_cut_off() {
        let hangs = until("it answers", Duration::from_millis(30), || {
            std::future::pending::<Result<(), String>>()
        });
        assert!(
            hangs
                .await
                .unwrap_err()
                .to_string()
                .contains("did not return")
        );
    }
}
