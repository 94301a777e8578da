//! The data plane in a simulated network: dispatcher, sender and subscribers are hosts, the bus is
//! outside of them, and what goes wrong is drawn from a seed, which repeats a run.
//!
//! `SEED=n make test` runs one seed; `make soak` runs new ones.

#![cfg(tokio_unstable)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "tests"
)]

mod sim {
    pub(crate) mod bus;
    pub(crate) mod chance;
    pub(crate) mod check;
    pub(crate) mod habit;
    pub(crate) mod hosts;
    pub(crate) mod ledger;
    pub(crate) mod network;
    pub(crate) mod plan;
    pub(crate) mod run;
    pub(crate) mod seeds;
    pub(crate) mod shape;
}

use sim::seeds;

/// The seeds of `make test`, in parts that run beside each other.
macro_rules! seeds {
    ($($name:ident $part:literal;)*) => {
        $(#[test] fn $name() { seeds::part($part); })*
    };
}

seeds! {
    every_invariant_holds_for_the_seeds_from_0 0;
    every_invariant_holds_for_the_seeds_from_25 1;
    every_invariant_holds_for_the_seeds_from_50 2;
    every_invariant_holds_for_the_seeds_from_75 3;
    every_invariant_holds_for_the_seeds_from_100 4;
    every_invariant_holds_for_the_seeds_from_125 5;
    every_invariant_holds_for_the_seeds_from_150 6;
    every_invariant_holds_for_the_seeds_from_175 7;
}

#[test]
fn a_seed_repeats_a_run_step_by_step() {
    seeds::repeats(&[3, 77, 140]);
}

#[test]
fn what_others_suffer_changes_nothing_for_a_subscription_that_is_well() {
    seeds::compares(12);
}

/// Under `--cfg busway_plant`: each bug, found or not.
#[cfg(busway_plant)]
mod planted {
    use busway_dataplane::plant::Plant;

    use super::seeds;

    macro_rules! planted {
        ($($name:ident $bug:ident;)*) => {
            $(#[test] fn $name() { seeds::finds(Plant::$bug); })*
        };
    }

    planted! {
        an_early_ack_is_found EarlyAck;
        a_forgotten_count_is_found CountForgotten;
        a_shared_cursor_is_found SharedCursor;
        a_key_released_early_is_found KeyReleased;
        a_filter_kept_after_an_edit_is_found FilterKept;
        a_dropped_dead_letter_is_found DeadLetterDropped;
        one_attempt_too_many_is_found OneTooMany;
        a_forgotten_retry_after_is_found RetryAfterForgotten;
        a_late_pause_is_found PauseLate;
        a_message_lost_at_drain_is_found LostAtDrain;
    }
}
