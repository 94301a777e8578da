//! The contract against `busway dispatcher` with the memory bus, as a process: on a folder of manifests and against
//! a real API server.

use std::sync::Arc;

use busway::buses::memory::MemoryBus;
use busway_core::{Bus as _, budget::MemoryBudget, bus::Profile, world::SystemClock};
use busway_testkit::conformance::{
    Verdict,
    running::{Mode, Subject, restarting, run},
};
use serde_json::json;

fn profile() -> Profile {
    MemoryBus::new(MemoryBudget::new(0), Arc::new(SystemClock)).profile()
}

fn memory() -> Subject {
    Subject::new(env!("CARGO_BIN_EXE_busway"), profile())
        .args(["dispatcher"])
        .spec(json!({"memory": {}}))
}

busway_testkit::conformance_running!(memory());

/// What stands for a container's runtime: it starts the process as a child, ends it when it is gone itself, and ends
/// with what the child ended with.
const RUNTIME: &str = r#"
"$0" dispatcher --standalone --debug 127.0.0.1:0 &
child=$!
echo $child > "$CONTAINER_PID"
( while kill -0 $$; do sleep 1; done; kill -9 $child ) >/dev/null 2>&1 &
wait $child
"#;

#[test]
fn a_container_is_told_by_its_environment_alone_and_signalled_by_its_runtime() -> Verdict {
    let container = Subject::new("sh", profile())
        .plain()
        .args(["-c", RUNTIME, env!("CARGO_BIN_EXE_busway")])
        .environment(|data| vec![("CONTAINER_PID", data.join("pid").into())])
        .signalled_by(["sh", "-c", r#"kill -s "$0" "$(cat "$CONTAINER_PID")""#])
        .spec(json!({"memory": {}}));
    let case = restarting::what_was_settled_is_not_delivered_again_after_a_restart;
    run("in a container", Mode::ApiServer, container.clone(), case)?;
    let case = restarting::what_was_unsettled_at_kill_9_is_delivered_and_its_attempts_count_on;
    run("in a container", Mode::ApiServer, container, case)
}
