//! The scenarios, in the order in which they run.

mod children;
mod deletion;
mod faults;
mod install;
mod operator;
mod roles;
mod rollout;
mod shop;
mod third_party;
mod upgrade;

use crate::run::{Given, Scenario};

/// A scenario is a function of its module; its sentence is the function's name.
macro_rules! scenario {
    ($given:ident, $module:ident::$name:ident) => {
        Scenario {
            name: concat!(stringify!($module), "::", stringify!($name)),
            given: Given::$given,
            run: |bed| Box::pin($module::$name(bed)),
        }
    };
}

pub(crate) const ALL: &[Scenario] = &[
    scenario!(
        Nothing,
        install::a_message_reaches_two_subscribers_soon_after_helm_install
    ),
    scenario!(Nothing, install::the_rendered_manifests_install_it_too),
    scenario!(
        Nothing,
        upgrade::from_the_version_before_and_back_fails_no_send_and_loses_no_object
    ),
    scenario!(
        Nothing,
        upgrade::definitions_operator_and_dispatchers_work_in_every_combination_of_two_versions
    ),
    scenario!(Installed, install::helm_test_says_that_it_works),
    scenario!(Installed, rollout::a_restart_of_one_replica_fails_no_send),
    scenario!(Installed, rollout::a_restart_of_two_replicas_fails_no_send),
    scenario!(
        Installed,
        faults::a_dispatcher_killed_in_mid_stream_serves_again
    ),
    scenario!(
        Installed,
        faults::an_image_that_does_not_exist_is_said_and_mended
    ),
    scenario!(
        Installed,
        faults::a_service_that_is_someone_elses_is_left_alone
    ),
    scenario!(
        Installed,
        third_party::a_bus_of_somebody_elses_carries_messages
    ),
    scenario!(Installed, children::a_child_deleted_by_hand_comes_back),
    scenario!(Installed, children::a_child_edited_by_hand_is_put_back),
    scenario!(
        Installed,
        deletion::a_bus_waits_for_its_channels_however_it_is_deleted
    ),
    scenario!(Installed, deletion::a_namespace_goes_with_everything_in_it),
    scenario!(
        Installed,
        deletion::channels_on_a_cluster_bus_go_with_their_namespace
    ),
    scenario!(
        Installed,
        operator::one_killed_in_mid_reconcile_leaves_nothing_half_done
    ),
    scenario!(Installed, operator::one_that_leaves_hands_the_lease_over),
    scenario!(Installed, operator::a_quota_that_refuses_the_pod_is_said),
    scenario!(
        Installed,
        operator::a_namespace_that_a_cluster_bus_does_not_allow_is_refused
    ),
    scenario!(Installed, operator::a_drain_leaves_a_dispatcher_that_serves),
    scenario!(
        Installed,
        roles::what_is_granted_is_used_and_what_is_used_is_granted
    ),
    scenario!(Installed, deletion::nothing_is_left_after_uninstall),
];
