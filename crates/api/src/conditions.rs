//! Conditions: their types, and saying one without touching the time at which it last turned.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Longest message that an API server stores.
pub const MAX_MESSAGE: usize = 32_768;
/// Longest reason that an API server stores.
pub const MAX_REASON: usize = 1_024;

macro_rules! types {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// What a condition says something of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum ConditionType {
            $($(#[$doc])* $name,)+
        }

        impl ConditionType {
            /// Its name in `status.conditions`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

types! {
    /// What the object refers to exists and may be used.
    Accepted,
    /// An address answers.
    Serviceable,
    /// Bus: the provisioner's workload runs.
    Provisioning,
    /// Bus: the dispatcher's workload runs. Subscription: every ready replica consumes.
    Dispatching,
    /// The bus works with its settings.
    Synced,
    /// What a 202 of this bus means.
    Durable,
    /// The bus is being deleted and waits.
    DeletionBlocked,
    /// The operator leaves the object alone.
    ReconcilePaused,
    /// Every ready replica accepts messages for the channel.
    Routable,
    /// What backs the channel exists.
    Provisioned,
    /// Every address and setting of the subscription is understood.
    Resolved,
    /// The bus keeps messages for the subscription.
    Subscribed,
    /// How deliveries go.
    Delivering,
    /// All that is needed holds.
    Ready,
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

impl Truth {
    /// As it is written in a condition.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }

    /// Of a stored condition; what a newer version may have written is Unknown.
    #[must_use]
    pub fn of(condition: &Condition) -> Self {
        match condition.status.as_str() {
            "True" => Self::True,
            "False" => Self::False,
            _ => Self::Unknown,
        }
    }
}

/// One condition to be said: all but the generation and the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What of.
    pub kind: ConditionType,
    /// Whether it holds.
    pub truth: Truth,
    /// Why, as one stable word: a [`Reason`](crate::reason::Reason), or a bus's own.
    pub reason: Cow<'static, str>,
    /// Why, for a person.
    pub message: String,
}

impl Said {
    /// It holds.
    pub fn yes(
        kind: ConditionType,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(kind, Truth::True, reason, message)
    }

    /// It does not hold.
    pub fn no(
        kind: ConditionType,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(kind, Truth::False, reason, message)
    }

    /// Nobody knows.
    pub fn unknown(
        kind: ConditionType,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self::new(kind, Truth::Unknown, reason, message)
    }

    /// What was computed elsewhere.
    pub fn new(
        kind: ConditionType,
        truth: Truth,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            truth,
            reason: reason.into(),
            message: message.into(),
        }
    }
}

/// The condition of that type.
#[must_use]
pub fn find(conditions: &[Condition], kind: ConditionType) -> Option<&Condition> {
    conditions
        .iter()
        .find(|condition| condition.type_ == kind.as_str())
}

/// Whether that condition is True, and said of this generation.
#[must_use]
pub fn holds(conditions: &[Condition], kind: ConditionType, generation: i64) -> bool {
    find(conditions, kind).is_some_and(|condition| {
        Truth::of(condition) == Truth::True && condition.observed_generation == Some(generation)
    })
}

/// Says one condition of one generation. Its `lastTransitionTime` moves to `now` only when its status changes.
/// Returns whether anything differs, that is, whether there is something to write.
pub fn set(conditions: &mut Vec<Condition>, said: Said, generation: i64, now: &Time) -> bool {
    let kind = said.kind;
    let place = conditions
        .iter()
        .position(|condition| condition.type_ == kind.as_str());
    let old = place.and_then(|place| conditions.get(place));
    let turned = old
        .filter(|old| old.status == said.truth.as_str())
        .map_or_else(|| now.clone(), |old| old.last_transition_time.clone());
    let new = Condition {
        type_: kind.as_str().to_owned(),
        status: said.truth.as_str().to_owned(),
        reason: stored_reason(&said.reason),
        message: cut(&said.message, MAX_MESSAGE).to_owned(),
        observed_generation: Some(generation),
        last_transition_time: turned,
    };
    let differs = old != Some(&new);
    match place.and_then(|place| conditions.get_mut(place)) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
    differs
}

/// A bus's own reason may be anything; a stored one is never empty and never too long.
fn stored_reason(reason: &str) -> String {
    let reason = cut(reason.trim(), MAX_REASON);
    if reason.is_empty() { "Other" } else { reason }.to_owned()
}

/// API servers count characters, so do we.
fn cut(text: &str, most: usize) -> &str {
    match text.char_indices().nth(most) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::reason::Reason;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_condition_said_again_keeps_the_time_at_which_it_turned() {
        let mut all = Vec::new();
        let said = Said::yes(ConditionType::Accepted, Reason::Accepted, "");
        assert!(set(&mut all, said.clone(), 1, &at(1)));
        assert!(!set(&mut all, said.clone(), 1, &at(2)));
        assert!(
            set(&mut all, said, 2, &at(3)),
            "another generation is a difference"
        );
        assert_eq!(all[0].last_transition_time, at(1));
        assert_eq!(all[0].observed_generation, Some(2));
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_condition_that_turns_takes_the_time_of_turning() {
        let mut all = Vec::new();
        set(
            &mut all,
            Said::yes(ConditionType::Synced, Reason::Synced, ""),
            1,
            &at(1),
        );
        set(
            &mut all,
            Said::no(ConditionType::Synced, Reason::SyncFailed, "no broker"),
            1,
            &at(5),
        );
        assert_eq!(all[0].last_transition_time, at(5));
        let other_words = Said::no(ConditionType::Synced, Reason::SyncFailed, "still no broker");
        assert!(set(&mut all, other_words, 1, &at(9)));
        assert_eq!(all[0].last_transition_time, at(5));
        assert_eq!(all[0].message, "still no broker");
    }

    #[test]
    fn a_reason_of_a_bus_is_taken_whatever_it_is() {
        let mut all = Vec::new();
        for (given, stored) in [
            ("TopicGone".to_owned(), "TopicGone".to_owned()),
            (" ".into(), "Other".into()),
            ("é".repeat(2_000), "é".repeat(1_024)),
        ] {
            set(
                &mut all,
                Said::no(ConditionType::Provisioned, given, "x".repeat(40_000)),
                1,
                &at(1),
            );
            assert_eq!(all[0].reason, stored);
            assert_eq!(all[0].message.len(), MAX_MESSAGE);
        }
    }
}
