//! The contract, run against a dispatcher as it will run: a process of its own, spoken to over HTTP.
//!
//! [`conformance_running!`](crate::conformance_running!) makes two tests of each case, so that a
//! failure names what does not hold and where: the process serves a folder of manifests, and the
//! resources of a real API server.
//!
//! ```text
//! fn mine() -> Subject {
//!     Subject::new(env!("CARGO_BIN_EXE_my-bus"), MyBus::PROFILE)
//!         .environment(|data| vec![("MY_BUS_FILE", data.join("bus").into())])
//! }
//!
//! busway_testkit::conformance_running!(mine());
//! ```
//!
//! The process is told what an operator tells a container (`BUS_NAME`, `PORT`, `ADMIN_PORT` and the
//! others), on ports of each test's own, and buskit's arguments that stand for the operator:
//! `--standalone`, or `--dir DIR`. One that is no buskit's ([`Subject::plain`]) gets the environment
//! only, and runs on the API server only
//! ([`conformance_on_an_api_server!`](crate::conformance_on_an_api_server!)). An image is run by a
//! program that starts it with the host's network and hands the environment on; a second one sends
//! signals into it ([`Subject::signalled_by`]).
//!
//! A case that is about a promise which the bus does not make (durability, finalizers, a dead-letter
//! store) checks what holds without it. What HTTP does not show is checked too where the author
//! gives a look into the store ([`Store`]).

pub mod deleting;
pub mod failing;
pub mod restarting;
pub mod serving;

mod process;
mod subject;
mod world;

use std::time::Duration;

use anyhow::anyhow;

pub use self::{
    process::Running,
    subject::{Held, Kept, Store, Subject},
    world::{Mode, World},
};
use super::Verdict;

/// How long one case may take: a control plane that starts, a process that starts three times, and
/// leases that run out, on a machine that is busy.
const CASE_DEADLINE: Duration = Duration::from_secs(300);

/// Runs one case on a runtime of its own, within a deadline. What
/// [`conformance_running!`](crate::conformance_running!) calls.
///
/// # Errors
/// Names the case, what does not hold, and what the process printed last.
pub fn run(
    name: &str,
    mode: Mode,
    subject: Subject,
    case: impl AsyncFnOnce(&World) -> Verdict,
) -> Verdict {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let verdict = runtime.block_on(async {
        let world = World::new(subject, mode).await?;
        tokio::time::timeout(CASE_DEADLINE, case(&world))
            .await
            .unwrap_or_else(|_| Err(anyhow!("took longer than {CASE_DEADLINE:?}")))
            .map_err(|error| error.context(world.printed()))
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    verdict.map_err(|error| error.context(format!("a running dispatcher fails: {name}")))
}

/// Makes two tests of each case, for a [`Subject`](crate::conformance::running::Subject) expression:
/// in a module `on_a_folder` and in one `on_an_api_server`.
#[macro_export]
macro_rules! conformance_running {
    ($subject:expr) => {
        $crate::conformance_on_a_folder!($subject);
        $crate::conformance_on_an_api_server!($subject);
    };
}

/// The half of [`conformance_running!`](crate::conformance_running!) that needs no API server.
#[macro_export]
macro_rules! conformance_on_a_folder {
    ($subject:expr) => {
        $crate::conformance_running_cases! { $subject; on_a_folder: Folder; }
    };
}

/// The half of [`conformance_running!`](crate::conformance_running!) that needs a real API server.
#[macro_export]
macro_rules! conformance_on_an_api_server {
    ($subject:expr) => {
        $crate::conformance_running_cases! { $subject; on_an_api_server: ApiServer;
            // A folder has no namespace to delete.
            deleting::a_namespace_is_deleted_with_everything_in_it,
        }
    };
}

/// The tests of one mode.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_running_cases {
    ($subject:expr; $module:ident: $mode:ident; $($part:ident::$case:ident,)*) => {
        mod $module {
            #[allow(unused_imports, reason = "the subject's expression may need nothing from outside")]
            use super::*;
            $crate::conformance_running_tests! { $subject; $mode;
                serving::the_environment_says_which_bus_is_served,
                serving::probes_are_on_the_admin_port_and_say_what_is_served,
                serving::an_unknown_channel_is_answered_404,
                serving::every_subscription_gets_a_message_byte_for_byte,
                serving::a_later_subscription_sees_nothing_from_before,
                serving::a_deleted_subscription_gets_nothing_more,
                serving::paused_messages_wait_and_resume,
                failing::a_message_is_delivered_or_retried_and_dead_lettered,
                restarting::what_was_unsettled_at_kill_9_is_delivered_and_its_attempts_count_on,
                restarting::what_was_settled_is_not_delivered_again_after_a_restart,
                restarting::sigterm_ends_it_with_0_and_loses_nothing_in_flight,
                deleting::finalizers_are_there_before_the_hook_and_gone_with_the_object,
                deleting::a_deletion_in_which_the_dispatcher_was_killed_ends,
                deleting::what_was_deleted_meanwhile_is_unprovisioned_at_the_start,
                $($part::$case,)*
            }
        }
    };
}

/// One test of each case.
#[doc(hidden)]
#[macro_export]
macro_rules! conformance_running_tests {
    ($subject:expr; $mode:ident; $($part:ident::$case:ident,)*) => {
        $(#[test]
        fn $case() -> $crate::conformance::Verdict {
            $crate::conformance::running::run(
                concat!(stringify!($part), "::", stringify!($case)),
                $crate::conformance::running::Mode::$mode,
                $subject,
                $crate::conformance::running::$part::$case,
            )
        })*
    };
}
