//! The scenarios, in the order in which they run.

mod allowed;
mod api_server;
mod bound;
mod children;
mod definitions;
mod deletion;
mod faults;
mod install;
mod lease;
mod operator;
mod release;
mod replicas;
mod roles;
mod rollout;
mod scale;
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
        deletion::a_cluster_bus_waits_for_other_teams_channels_and_carries_them
    ),
    scenario!(
        Installed,
        bound::a_hook_that_cannot_run_is_waited_for_until_the_bound
    ),
    scenario!(
        Installed,
        definitions::deleted_with_objects_they_take_them_along_and_come_back
    ),
    scenario!(
        Installed,
        release::other_values_and_a_rollback_touch_no_message
    ),
    scenario!(
        Installed,
        replicas::of_a_memory_bus_each_serves_and_one_writes_the_status
    ),
    scenario!(
        Installed,
        replicas::ready_waits_for_one_that_does_not_hear_the_api_server
    ),
    scenario!(
        Installed,
        third_party::of_two_replicas_on_one_volume_one_provisions_and_both_serve
    ),
    scenario!(Installed, api_server::one_that_is_killed_stops_no_message),
    scenario!(
        Installed,
        lease::two_operators_that_fight_for_it_never_work_at_once
    ),
    scenario!(
        Installed,
        scale::many_objects_are_ready_soon_and_written_to_seldom
    ),
    scenario!(
        Installed,
        operator::one_killed_in_mid_reconcile_leaves_nothing_half_done
    ),
    scenario!(Installed, operator::one_that_leaves_hands_the_lease_over),
    scenario!(Installed, operator::a_quota_that_refuses_the_pod_is_said),
    scenario!(
        Installed,
        allowed::a_namespace_that_is_not_is_refused_and_one_no_longer_has_its_grace
    ),
    scenario!(Installed, operator::a_drain_leaves_a_dispatcher_that_serves),
    scenario!(
        Installed,
        roles::what_is_granted_is_used_and_what_is_used_is_granted
    ),
    scenario!(Installed, deletion::nothing_is_left_after_uninstall),
];
