//! `spec.ordering`: whether the bus can keep it.

use busway_api::{reason::Reason, subscription as api};
use busway_core::{
    AttributeName,
    bus::{Ordering, Scope},
};

use super::{Problem, delivery};

/// What order the bus keeps, as it is deployed.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) ordering: &'a Ordering,
    pub(crate) scope: Scope,
    /// As the resource has them; unset is left to an autoscaler, which may make several.
    pub(crate) replicas: Option<i32>,
}

impl Order<'_> {
    /// Reads what a subscription asks for; whether the bus keeps it is [`Order::keeps`]' matter.
    pub(crate) fn key(asked: Option<&api::Ordering>) -> Result<Option<AttributeName>, Problem> {
        let name = asked.map(|asked| AttributeName::new(&asked.key));
        name.transpose()
            .map_err(|error| delivery::invalid("spec.ordering.key", &error.to_string()))
    }

    /// Whether the bus keeps what a subscription asks for.
    pub(crate) fn keeps(self, asked: Option<&api::Ordering>) -> Result<(), Problem> {
        let Some(asked) = asked else { return Ok(()) };
        let why = match self.ordering {
            Ordering::No => "the bus keeps no order".to_owned(),
            Ordering::ByPublishKey(key) if *key != asked.key => {
                format!(
                    "the bus orders this channel by `{key}`, not by `{}`",
                    asked.key
                )
            }
            Ordering::SingleConsumer
                if self.scope == Scope::PerReplica && self.replicas != Some(1) =>
            {
                let replicas = match self.replicas {
                    Some(replicas) => format!("{replicas} replicas, each of which delivers"),
                    None => {
                        "no set number of replicas, and each of several would deliver".to_owned()
                    }
                };
                format!(
                    "the bus has {replicas} what it received; with spec.replicas: 1 on the bus it keeps the order"
                )
            }
            Ordering::ByPublishKey(_) | Ordering::SingleConsumer => return Ok(()),
        };
        let message = format!("spec.ordering: {why}");
        Err(Problem::new(Reason::OrderingUnsupported, message))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_bus_keeps_an_order_with_the_replicas_that_it_has() {
        let asked = api::Ordering {
            key: "subject".to_owned(),
        };
        let by = |key: &str| Ordering::ByPublishKey(key.to_owned());
        for (ordering, scope, replicas, why) in [
            (Ordering::No, Scope::Shared, Some(1), Some("keeps no order")),
            (by("subject"), Scope::Shared, None, None),
            (
                by("type"),
                Scope::Shared,
                None,
                Some("`type`, not by `subject`"),
            ),
            (Ordering::SingleConsumer, Scope::Shared, None, None),
            (Ordering::SingleConsumer, Scope::Shared, Some(3), None),
            (Ordering::SingleConsumer, Scope::PerReplica, Some(1), None),
            (
                Ordering::SingleConsumer,
                Scope::PerReplica,
                Some(2),
                Some("2 replicas"),
            ),
            (
                Ordering::SingleConsumer,
                Scope::PerReplica,
                None,
                Some("spec.replicas: 1"),
            ),
        ] {
            let order = Order {
                ordering: &ordering,
                scope,
                replicas,
            };
            let kept = order.keeps(Some(&asked)).map_err(|problem| problem.message);
            match why {
                None => assert_eq!(kept, Ok(())),
                Some(why) => assert!(kept.as_ref().unwrap_err().contains(why), "{kept:?}"),
            }
            assert_eq!(order.keeps(None), Ok(()));
        }
        assert!(
            Order::key(Some(&api::Ordering {
                key: " ".to_owned()
            }))
            .is_err()
        );
        assert_eq!(Order::key(None).unwrap(), None);
    }
}
