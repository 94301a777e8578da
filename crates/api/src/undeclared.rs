//! Definitions that are older than whoever writes a status.
//!
//! An API server prunes an unknown field of most writes, but refuses a server-side apply for it. So the first field that a
//! new version adds to a status would keep all of that status from being written until the definitions are upgraded too.

use serde_json::Value;

/// How an API server ends what it says of such a field, after its path.
const UNDECLARED: &str = ": field not declared in schema";

/// Leaves out what a refusal calls undeclared. Whether there was any: then it is to be applied again.
pub fn leave_out(status: &mut Value, refusal: &str) -> bool {
    let Some(status) = status.as_object_mut() else {
        return false;
    };
    let before = status.len();
    for path in refusal.split(".status.").skip(1) {
        if let Some((field, _)) = path.split_once(UNDECLARED) {
            // A path into a field is no field's name, and nothing is removed.
            status.remove(field);
        }
    }
    status.len() < before
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_a_definition_does_not_have_yet_are_left_out_and_all_others_stay() {
        let mut status = json!({ "namespaces": [], "service": "s", "later": 1, "conditions": [] });
        let one = "failed to create typed patch object (/t; channels.busway.dev/v1alpha1, Kind=ClusterBus): \
                   .status.namespaces: field not declared in schema";
        assert!(leave_out(&mut status, one));
        assert!(
            !leave_out(&mut status, one),
            "there is nothing more to leave out"
        );
        let two = "failed to create typed patch object: errors:\n  .status.later: field not declared in schema\n  \
                   .status.conditions[type=\"Ready\"].new: field not declared in schema";
        assert!(leave_out(&mut status, two));
        assert_eq!(status, json!({ "service": "s", "conditions": [] }));
    }

    #[test]
    fn another_refusal_changes_nothing() {
        let mut status = json!({ "service": "s" });
        for refusal in [
            "",
            ".status.service: Invalid value: too long",
            ".spec.service: field not declared in schema",
        ] {
            assert!(!leave_out(&mut status, refusal), "{refusal}");
        }
        assert_eq!(status, json!({ "service": "s" }));
    }
}
