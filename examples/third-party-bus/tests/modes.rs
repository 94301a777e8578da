//! The real binary, on a folder of manifests and against a real API server: the same stories in both.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "modes/deletion.rs"]
mod deletion;
#[path = "modes/story.rs"]
mod story;
#[path = "modes/world.rs"]
mod world;

use world::World;

/// Each story as two tests.
macro_rules! in_both {
    ($($module:ident::$story:ident,)*) => {
        mod on_a_folder {
            $(#[tokio::test]
            async fn $story() {
                super::$module::$story(&super::World::folder()).await;
            })*
        }
        mod on_an_api_server {
            $(#[tokio::test]
            async fn $story() {
                super::$module::$story(&super::World::cluster().await).await;
            })*
        }
    };
}

in_both! {
    story::a_message_is_delivered_or_retried_and_dead_lettered,
    story::what_was_unsettled_at_kill_9_is_delivered_and_its_attempts_count_on,
    story::paused_messages_wait_and_resume,
    deletion::finalizers_are_there_before_the_hook_and_gone_with_the_object,
    deletion::a_deletion_in_which_the_dispatcher_was_killed_ends,
    deletion::what_was_deleted_meanwhile_is_unprovisioned_at_the_start,
}

#[tokio::test]
async fn a_namespace_is_deleted_with_everything_in_it() {
    deletion::a_namespace_is_deleted_with_everything_in_it(&World::cluster().await).await;
}
