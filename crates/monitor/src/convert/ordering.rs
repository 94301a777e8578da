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
