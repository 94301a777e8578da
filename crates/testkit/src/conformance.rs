//! The contract of [`busway_core::bus`], run against any bus in process; [`running`] runs it against a
//! dispatcher that is a process of its own, over HTTP.
//!
//! [`conformance!`](crate::conformance!) makes a test of each case, so that a failure names the
//! guarantee that does not hold:
//!
//! ```text
//! struct Mine(tempfile::TempDir);
//!
//! #[async_trait::async_trait]
//! impl busway_testkit::conformance::Subject for Mine {
//!     async fn open(&self) -> anyhow::Result<Arc<dyn Bus>> {
//!         Ok(Arc::new(MyBus::open(&self.0.path().join("bus"))?))
//!     }
//! }
//!
//! busway_testkit::conformance!(Mine(tempfile::tempdir().unwrap()));
//! ```
//!
//! A case that is about an optional part is run both ways: declared, the part must work; not
//! declared, it must answer `Unsupported`.

pub mod consuming;
pub mod durability;
pub mod hooks;
pub mod optional;
pub mod publishing;
pub mod running;
pub mod settling;

mod rig;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use busway_core::Bus;

pub use rig::{Consumer, Rig};

/// How long one case may take: an engine that starts, and a lease that runs out, fit in.
const CASE_DEADLINE: Duration = Duration::from_secs(120);

/// A bus under test, with a store of its own.
#[async_trait]
pub trait Subject: Send + Sync + 'static {
    /// Opens the bus on this subject's store; no hook has run on what is returned. Opened again it
    /// is the same store: another replica while the first is alive, else the process started again.
    /// A bus in memory has a new store each time.
    ///
    /// # Errors
    /// When the engine cannot be started or reached.
    async fn open(&self) -> anyhow::Result<Arc<dyn Bus>>;

    /// How long a message may take to come: longer than the time after which the engine takes a
    /// holder for dead.
    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

/// What a case comes to: an error says which guarantee does not hold.
pub type Verdict = anyhow::Result<()>;

/// Runs one case on a runtime of its own, within a deadline. What
/// [`conformance!`](crate::conformance!) calls.
///
/// # Errors
/// Names the case, and what does not hold.
pub fn run<S, F>(name: &str, subject: S, case: impl FnOnce(Arc<dyn Subject>) -> F) -> Verdict
where
    S: Subject,
    F: Future<Output = Verdict>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let verdict = runtime.block_on(async {
        tokio::time::timeout(CASE_DEADLINE, case(Arc::new(subject)))
            .await
            .unwrap_or_else(|_| Err(anyhow::anyhow!("took longer than {CASE_DEADLINE:?}")))
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    verdict.map_err(|error| error.context(format!("the contract of a bus does not hold: {name}")))
}

/// Makes one test of each case of the contract, for a [`Subject`] expression; it is evaluated once
/// per case, so that each has a store of its own.
#[macro_export]
macro_rules! conformance {
    ($subject:expr) => {
        $crate::conformance_cases! { $subject;
            hooks: [
                every_hook_may_be_repeated,
                a_cancelled_hook_may_be_repeated,
                removing_what_is_not_there_is_success,
                hooks_of_many_keys_run_at_once,
                a_channel_that_is_unprovisioned_takes_nothing,
                a_subscription_created_anew_sees_nothing_of_the_old_one,
                a_channel_created_anew_sees_nothing_of_the_old_one,
                a_late_hook_of_an_old_identity_removes_nothing_of_the_new_one,
                names_that_look_alike_are_kept_apart,
            ],
            publishing: [
                an_unknown_channel_is_refused,
                a_channel_without_subscriptions_takes_messages,
                every_subscription_of_the_channel_gets_a_message_and_no_other_does,
                a_subscription_sees_what_is_published_after_it_and_nothing_from_before,
                headers_and_bytes_come_out_as_they_went_in,
                a_message_is_dated_by_its_acceptance,
                many_publishers_and_consumers_lose_nothing,
            ],
            consuming: [
                an_unknown_subscription_is_refused,
                a_waiting_consumer_gets_what_is_published_later,
                credit_in_messages_is_never_passed,
                credit_in_bytes_is_passed_by_one_message_at_most,
                one_subscription_that_settles_nothing_changes_nothing_for_another,
                two_consumers_never_hold_one_message,
                a_single_consumer_gets_messages_in_order,
                unsubscribing_ends_the_stream_and_discards_the_backlog,
            ],
            settling: [
                done_is_final,
                a_dropped_delivery_comes_back_and_is_no_attempt,
                a_release_keeps_the_count,
                a_dropped_stream_hands_everything_back,
                extending_stores_the_count,
                a_delayed_message_comes_at_its_time_with_its_count,
                a_delay_that_is_over_is_none,
            ],
            optional: [
                the_backlog_is_what_is_accepted_and_not_settled,
                dead_letters_are_read_in_order_and_removed,
                history_is_what_was_accepted_in_that_time,
                a_purge_settles_what_came_before,
            ],
            durability: [
                what_is_not_settled_is_there_after_a_restart,
                what_was_held_at_a_crash_comes_back,
                a_delay_survives_a_restart,
                dead_letters_survive_a_restart,
                another_replica_serves_without_hooks_of_its_own,
            ],
        }
    };
}

/// The tests of [`conformance!`].
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_cases {
    ($subject:expr; $($part:ident: [$($case:ident),+ $(,)?],)+) => {
        $(mod $part {
            #[allow(unused_imports, reason = "the subject's expression may need nothing from outside")]
            use super::*;
            $(#[test]
            fn $case() -> $crate::conformance::Verdict {
                $crate::conformance::run(
                    concat!(stringify!($part), "::", stringify!($case)),
                    $subject,
                    $crate::conformance::$part::$case,
                )
            })+
        })+
    };
}
