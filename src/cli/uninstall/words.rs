//! What an uninstall says of what is left.

use std::collections::BTreeSet;

use busway_api::conditions::{ConditionType, Truth, find};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::cluster::{Kind, Left};

/// Objects that are told by name; of the rest the number.
const NAMED: usize = 10;

/// `1 Channel`, `3 Channels`, `no ClusterBus`.
pub(super) fn count(kind: Kind, many: usize) -> String {
    match many {
        0 => format!("no {}", kind.as_str()),
        1 => format!("1 {}", kind.as_str()),
        many => {
            let ending = if matches!(kind, Kind::Bus | Kind::ClusterBus) {
                "es"
            } else {
                "s"
            };
            format!("{many} {}{ending}", kind.as_str())
        }
    }
}

/// As [`count`], and in which namespaces they are.
pub(super) fn count_where(kind: Kind, left: &[Left]) -> String {
    let all = left.iter().filter_map(|one| one.metadata.namespace.clone());
    let namespaces: Vec<_> = all.collect::<BTreeSet<_>>().into_iter().collect();
    format!("{}{}", count(kind, left.len()), within(&namespaces))
}

/// ` in a, b`, or nothing where there is nothing to name.
pub(super) fn within(namespaces: &[String]) -> String {
    if namespaces.is_empty() {
        return String::new();
    }
    let (named, more) = namespaces.split_at(namespaces.len().min(NAMED));
    match more.len() {
        0 => format!(" in {}", named.join(", ")),
        more => format!(" in {} and {more} more namespaces", named.join(", ")),
    }
}

/// By whom.
pub(super) fn held(left: &[Left]) -> &'static str {
    if left.iter().any(Left::is_held) {
        "and what holds them could not be lifted"
    } else {
        "held by somebody else's finalizers"
    }
}

/// A line for each of the first, with what it waits for.
pub(super) fn lines(left: &[Left]) -> Vec<String> {
    let mut lines: Vec<_> = left.iter().take(NAMED).map(line).collect();
    let more = left.len().saturating_sub(NAMED);
    if more > 0 {
        lines.push(format!("… and {more} more"));
    }
    lines
}

fn line(left: &Left) -> String {
    match reason(left) {
        Some(condition) => {
            let words = format!("{} waits: {}", left.told(), condition.reason);
            match condition.message.as_str() {
                "" => words,
                message => format!("{words}: {message}"),
            }
        }
        None if left.metadata.finalizers.is_some() => {
            let finalizers = left.metadata.finalizers.clone().unwrap_or_default();
            format!("{} waits for {}", left.told(), finalizers.join(", "))
        }
        None => format!("{} is being deleted", left.told()),
    }
}

/// The condition that tells most of why it is still there.
fn reason(left: &Left) -> Option<&Condition> {
    let right =
        |kind| find(&left.conditions, kind).filter(|c: &&Condition| Truth::of(c) == Truth::True);
    // Before the rest: whoever is left alone by its operator waits for no other thing.
    let paused = right(ConditionType::ReconcilePaused);
    let blocked = right(ConditionType::DeletionBlocked);
    let own = match left.kind {
        Kind::Subscription => [ConditionType::Accepted, ConditionType::Subscribed],
        Kind::Channel => [ConditionType::Accepted, ConditionType::Provisioned],
        Kind::Bus | Kind::ClusterBus => [ConditionType::Dispatching, ConditionType::Synced],
    };
    let wrong = |kind: &ConditionType| {
        find(&left.conditions, *kind).filter(|c| Truth::of(c) == Truth::False)
    };
    paused.or(blocked).or_else(|| own.iter().find_map(wrong))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use busway_api::conditions::{Said, set};
    use k8s_openapi::{
        apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
        jiff::Timestamp,
    };

    use super::*;

    fn left(kind: Kind, name: &str, said: Option<Said>) -> Left {
        let mut conditions = Vec::new();
        if let Some(said) = said {
            set(
                &mut conditions,
                said,
                1,
                &Time(Timestamp::from_second(1).unwrap()),
            );
        }
        Left {
            kind,
            metadata: ObjectMeta {
                namespace: Some("shop".to_owned()),
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            conditions,
        }
    }

    #[test]
    fn each_says_what_it_waits_for() {
        let said = Said::yes(
            ConditionType::DeletionBlocked,
            "ChannelsRemain",
            "shop/orders",
        );
        let line = lines(&[left(Kind::Bus, "main", Some(said))]).remove(0);
        assert_eq!(line, "Bus shop/main waits: ChannelsRemain: shop/orders");
        let said = Said::no(ConditionType::Accepted, "ChannelDeleted", "until noon");
        let line = lines(&[left(Kind::Channel, "orders", Some(said))]).remove(0);
        assert_eq!(
            line,
            "Channel shop/orders waits: ChannelDeleted: until noon"
        );
        let said = Said::yes(
            ConditionType::ReconcilePaused,
            "PausedByAnnotation",
            "remove it",
        );
        let line = lines(&[left(Kind::Bus, "main", Some(said))]).remove(0);
        assert_eq!(line, "Bus shop/main waits: PausedByAnnotation: remove it");
        let mut held = left(Kind::Channel, "orders", None);
        held.metadata.finalizers = Some(vec!["example.com/mine".to_owned()]);
        assert_eq!(
            lines(&[held]),
            ["Channel shop/orders waits for example.com/mine"]
        );
    }

    #[test]
    fn thousands_are_counted_and_not_listed() {
        let all = vec![left(Kind::Subscription, "s", None); 1_000];
        let lines = lines(&all);
        assert_eq!(lines.len(), NAMED + 1);
        assert_eq!(lines.last().unwrap(), "… and 990 more");
        assert_eq!(count(Kind::ClusterBus, 2), "2 ClusterBuses");
        assert_eq!(count(Kind::Channel, 0), "no Channel");
    }

    #[test]
    fn namespaces_are_named_up_to_a_number() {
        let one = left(Kind::Channel, "orders", None);
        assert_eq!(
            count_where(Kind::Channel, &[one.clone(), one]),
            "2 Channels in shop"
        );
        assert_eq!(within(&[]), "");
        let many: Vec<_> = (0..12).map(|n| format!("n{n}")).collect();
        assert!(within(&many).ends_with("n9 and 2 more namespaces"));
    }

    #[test]
    fn who_holds_what_is_left_is_told_apart() {
        let mut held_by = left(Kind::Channel, "orders", None);
        held_by.metadata.finalizers = Some(vec!["example.com/mine".to_owned()]);
        assert_eq!(
            held(&[held_by.clone()]),
            "held by somebody else's finalizers"
        );
        held_by.metadata.finalizers = Some(vec![Kind::Channel.finalizer().to_owned()]);
        assert_eq!(held(&[held_by]), "and what holds them could not be lifted");
    }
}
