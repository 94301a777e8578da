//! `Ready`, from the other conditions: one function a kind, and the only place that decides it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::conditions::ConditionType::{
    self, Accepted, Dispatching, Provisioned, Provisioning, Ready, Resolved, Routable, Serviceable,
    Subscribed, Synced,
};
use crate::conditions::{Said, Truth, find};
use crate::reason::Reason;

/// What a Bus or ClusterBus needs, most telling first. Durable, DeletionBlocked and ReconcilePaused are not part of it.
pub const BUS: &[ConditionType] = &[Synced, Provisioning, Dispatching, Serviceable];
/// What a Channel needs, most telling first.
pub const CHANNEL: &[ConditionType] = &[Accepted, Provisioned, Routable, Serviceable];
/// What a Subscription needs, most telling first. Delivering is not part of it.
pub const SUBSCRIPTION: &[ConditionType] = &[Accepted, Resolved, Subscribed, Dispatching];

/// Ready of a Bus or ClusterBus of this generation.
#[must_use]
pub fn bus(conditions: &[Condition], generation: i64) -> Said {
    from(BUS, conditions, generation)
}

/// Ready of a Channel of this generation.
#[must_use]
pub fn channel(conditions: &[Condition], generation: i64) -> Said {
    from(CHANNEL, conditions, generation)
}

/// Ready of a Subscription of this generation.
#[must_use]
pub fn subscription(conditions: &[Condition], generation: i64) -> Said {
    from(SUBSCRIPTION, conditions, generation)
}

/// False with the reason of the first that is False; else Unknown with the first that is not known of this
/// generation; else True.
fn from(needed: &[ConditionType], conditions: &[Condition], generation: i64) -> Said {
    let said =
        |kind| find(conditions, kind).filter(|said| said.observed_generation == Some(generation));
    let wrong = needed
        .iter()
        .filter_map(|&kind| said(kind))
        .find(|said| Truth::of(said) == Truth::False);
    if let Some(wrong) = wrong {
        return Said::no(Ready, wrong.reason.clone(), wrong.message.clone());
    }
    for &kind in needed {
        match said(kind) {
            Some(said) if Truth::of(said) == Truth::True => {}
            Some(said) => return Said::unknown(Ready, said.reason.clone(), said.message.clone()),
            None => {
                let message = format!("{kind} is not known yet for generation {generation}");
                return Said::unknown(Ready, Reason::Pending, message);
            }
        }
    }
    Said::yes(Ready, Reason::AllGood, "")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::conditions::ConditionType::{DeletionBlocked, Delivering, Durable, ReconcilePaused};
    use crate::conditions::set;

    type Kind = (fn(&[Condition], i64) -> Said, &'static [ConditionType]);
    const KINDS: [Kind; 3] = [(bus, BUS), (channel, CHANNEL), (subscription, SUBSCRIPTION)];

    fn now() -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(1).unwrap())
    }

    fn all_true(needed: &[ConditionType], generation: i64) -> Vec<Condition> {
        let mut all = Vec::new();
        for &kind in needed {
            set(
                &mut all,
                Said::yes(kind, Reason::AllGood, ""),
                generation,
                &now(),
            );
        }
        all
    }

    #[test]
    fn ready_when_all_that_is_needed_holds() {
        for (ready, needed) in KINDS {
            assert_eq!(
                ready(&all_true(needed, 3), 3),
                Said::yes(Ready, Reason::AllGood, "")
            );
        }
    }

    #[test]
    fn not_ready_with_the_reason_of_the_first_that_is_wrong() {
        for (ready, needed) in KINDS {
            for (place, &kind) in needed.iter().enumerate() {
                let mut all = all_true(needed, 1);
                for (also, &later) in needed.iter().enumerate().skip(place) {
                    let reason = format!("Wrong{also}");
                    set(&mut all, Said::no(later, reason, kind.as_str()), 1, &now());
                }
                let reason = format!("Wrong{place}");
                assert_eq!(ready(&all, 1), Said::no(Ready, reason, kind.as_str()));
            }
        }
    }

    #[test]
    fn what_is_wrong_outweighs_what_is_not_known() {
        for (ready, needed) in KINDS {
            let (last, others) = needed.split_last().unwrap();
            let mut all = Vec::new();
            set(&mut all, Said::no(*last, "Broken", "it broke"), 1, &now());
            assert!(!others.is_empty());
            assert_eq!(ready(&all, 1), Said::no(Ready, "Broken", "it broke"));
        }
    }

    #[test]
    fn unknown_when_one_is_missing_or_of_an_old_generation_or_unknown() {
        for (ready, needed) in KINDS {
            for &kind in needed {
                let mut missing = all_true(needed, 2);
                missing.retain(|condition| condition.type_ != kind.as_str());
                let mut old = all_true(needed, 2);
                set(&mut old, Said::no(kind, "Broken", "it was"), 1, &now());
                for all in [missing, old] {
                    let said = ready(&all, 2);
                    assert_eq!(
                        (said.truth, said.reason.as_ref()),
                        (Truth::Unknown, "Pending")
                    );
                    assert!(said.message.contains(kind.as_str()), "{}", said.message);
                }
                let mut unknown = all_true(needed, 2);
                set(
                    &mut unknown,
                    Said::unknown(kind, "Asleep", "zzz"),
                    2,
                    &now(),
                );
                assert_eq!(ready(&unknown, 2), Said::unknown(Ready, "Asleep", "zzz"));
            }
        }
    }

    #[test]
    fn what_only_informs_is_never_part_of_ready() {
        for kind in [Durable, Delivering, DeletionBlocked, ReconcilePaused, Ready] {
            for (ready, needed) in KINDS {
                let mut all = all_true(needed, 1);
                set(&mut all, Said::no(kind, "Whatever", ""), 1, &now());
                assert_eq!(ready(&all, 1).truth, Truth::True);
            }
        }
    }
}
