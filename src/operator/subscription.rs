//! Subscription: whether what it refers to is there, and an end to its deletion.

mod dereference;
mod status;
mod validate;

use std::{sync::Arc, time::Duration};

use busway_api::{
    SUBSCRIBED_FINALIZER, Subscription,
    conditions::{ConditionType, Said},
    reason::Reason,
};
use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt as _,
    runtime::{controller::Action, reflector::ObjectRef},
};

use super::{
    channel::{
        self,
        carrier::BusKey,
        delete::{self, Home, Verdict},
        dereference::home,
        settle,
    },
    context::Context,
    controller::Outcome,
    labels,
    object::Object as _,
    stores::{Change, Queues, Stores},
};

/// In a terminating namespace, a subscription whose channel is gone is given so long: the data plane that removed the
/// channel had removed it before, and only has to say so.
const CHANNELLESS: Duration = Duration::from_secs(15);

/// Has a subscription looked at that changed. What it refers to is looked after with the channels.
pub(crate) fn touched(change: &Change, stores: &Stores, queues: &Queues) {
    let Change::Subscription(subscription) = change else {
        return;
    };
    let at = channel::at(&**subscription);
    let one = ObjectRef::new(&at.1).within(&at.0);
    let there = stores.subscriptions.get(&one);
    if there.is_none() {
        queues.pace.forget(subscription.uid_or_empty());
    }
    channel::ask(queues.index.subscription(&at, there.as_deref()), queues);
}

/// Makes the cluster as the subscription wants it: it wants nothing but a status.
pub(crate) async fn reconcile(subscription: Arc<Subscription>, ctx: Arc<Context>) -> Outcome {
    if labels::is_paused(&*subscription) {
        return settle::leave_alone(&ctx, &*subscription, &status::OWNERSHIP).await;
    }
    let now = Timestamp::now();
    let found = dereference::subscription(&ctx, &subscription);
    let mut accepted = channel::validate::undecodable(&*subscription, found.carrier())
        .unwrap_or_else(|| validate::accepted(&subscription, &found));
    let mut again = None;
    if subscription.is_going() {
        match verdict(&ctx, &subscription, &found, now).await? {
            Judged::Over => return Ok(Action::await_change()),
            Judged::Emptying => again = Some(delete::EMPTYING),
            Judged::Working => {}
            Judged::Waiting { until, message } => {
                accepted = Said::no(
                    ConditionType::Accepted,
                    Reason::SubscriptionDeleted,
                    message,
                );
                again = Duration::try_from(until - now).ok();
            }
        }
    }
    let mut plan = status::plan(accepted, &found, now);
    plan.again = [plan.again, again].into_iter().flatten().min();
    settle::settle(&ctx, &*subscription, plan, &status::OWNERSHIP).await
}

enum Judged {
    Over,
    Working,
    Emptying,
    Waiting { until: Timestamp, message: String },
}

/// Sees to it that its deletion ends.
async fn verdict(
    ctx: &Context,
    subscription: &Subscription,
    found: &dereference::Found,
    now: Timestamp,
) -> Result<Judged, super::error::Error> {
    let carrier = found.carrier();
    let missing = validate::accepted(subscription, found).message;
    let failing = delete::failing(subscription.conditions(), ConditionType::Subscribed);
    let hook = delete::hook(carrier, &missing, failing, now);
    let namespace = home(ctx, &subscription.namespace().unwrap_or_default()).await?;
    let key = found.channel.as_deref().and_then(BusKey::of_channel);
    let home = match &found.channel {
        // Nobody knows any more which bus it was on; who does may be about to let it go.
        None if namespace.terminating => match subscription.metadata.deletion_timestamp.as_ref() {
            Some(deleted) if deleted.0 + CHANNELLESS <= now => Home::Empty,
            Some(_) | None => Home::Emptying,
        },
        _ => delete::home(ctx, &namespace, key.as_ref(), carrier),
    };
    let bound = ctx.settings.deletion_bound;
    let meta = &subscription.metadata;
    match delete::judge(meta, SUBSCRIBED_FINALIZER, &hook, home, bound, now) {
        Verdict::Free => Ok(Judged::Over),
        Verdict::Working if home == Home::Emptying => Ok(Judged::Emptying),
        Verdict::Working => Ok(Judged::Working),
        Verdict::Waiting { until, why } => Ok(Judged::Waiting {
            until: if home == Home::Emptying {
                until.min(now + delete::EMPTYING)
            } else {
                until
            },
            message: format!(
                "the subscription is being deleted; it cannot be removed from the bus, and it is let go without that at {until}: {why}"
            ),
        }),
        Verdict::Lift { why } => {
            let regarding = delete::regarding(subscription, &namespace, carrier);
            let finalizer = SUBSCRIBED_FINALIZER;
            channel::apply::lift(ctx, subscription, finalizer, &why, regarding).await?;
            Ok(Judged::Over)
        }
    }
}
