#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use busway_core::{address::Destination, policy::DeliveryPolicy};
use serde_json::json;

use super::*;
use crate::convert::subscription::Targets;

/// Of a process that has just started: the status is all it has of what was before.
fn started(generation: i64, subscribed_at: i64) -> SubscriptionState {
    let object = json!({
        "apiVersion": "channels.busway.dev/v1alpha1", "kind": "Subscription",
        "metadata": {"namespace": "shop", "name": "mail", "uid": "1", "generation": generation},
        "spec": {"channel": "orders", "subscriber": "mail"},
        "status": {
            "resolvedParameters": {},
            "conditions": [{
                "type": "Subscribed", "status": "True", "reason": "Subscribed", "message": "",
                "observedGeneration": subscribed_at, "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        },
    });
    SubscriptionState {
        object: Some(Arc::new(serde_json::from_value(object).unwrap())),
        ..SubscriptionState::default()
    }
}

fn valid() -> View {
    let targets = Arc::new(Targets {
        subscriber: Destination::parse("mail", "shop", "cluster.local").unwrap(),
        reply_to: None,
        dead_letter_sink: None,
        filter: Arc::default(),
        ordering: None,
        policy: DeliveryPolicy::default(),
    });
    View {
        parameters: Ok(ResolvedParameters::default()),
        lenient: Some(Arc::clone(&targets)),
        targets: Ok(targets),
        order: Ok(()),
        refused: None,
    }
}

#[test]
fn after_a_restart_an_edit_of_the_bus_is_to_blame_for_its_own_rules_only() {
    let problem = |reason| Problem::new(reason, "");
    let parameters = View {
        parameters: Err(problem(Reason::MissingArgument)),
        ..valid()
    };
    let order = View {
        order: Err(problem(Reason::OrderingUnsupported)),
        ..valid()
    };
    let address = View {
        targets: Err(problem(Reason::AddressNotAllowed)),
        ..valid()
    };
    let refused = View {
        refused: Some(problem(Reason::NotYetSupported)),
        ..valid()
    };
    for (view, blame) in [
        (&parameters, Blame::Bus),
        (&order, Blame::Bus),
        (&address, Blame::Own),
        (&refused, Blame::Own),
    ] {
        let blame_of = |s: SubscriptionState| Engine::blame_of_subscription(&s, view);
        assert_eq!(blame_of(started(2, 2)), blame, "{view:?}");
        assert_eq!(blame_of(started(3, 2)), Blame::Own, "{view:?}");
        assert_eq!(blame_of(SubscriptionState::default()), Blame::Never);
    }
}
