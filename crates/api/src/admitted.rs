//! Which namespaces a ClusterBus has taken in, kept in its own status.
//!
//! `allowedNamespaces` guards the bus's owner against the people of a namespace. Those may write to their Channels, and to
//! the statuses of these too, through the account of a bus of their own. So whether a channel was there before its
//! namespace was shut out, and since when it is, is never read from a Channel but from here: the ClusterBus, the
//! namespace's UID and the channel's `creationTimestamp` are out of their reach.

use std::time::Duration;

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Namespaces that are remembered of one ClusterBus: about 150 kB of its status, where etcd takes 1.5 MB. Channels of
/// one that is not are refused as soon as it is no longer allowed.
pub const MOST: usize = 1_000;

/// A namespace that a ClusterBus carries channels of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdmittedNamespace {
    /// Its name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Its UID: another one of that name is a stranger.
    #[schemars(length(max = 64))]
    pub uid: String,
    /// Since when `allowedNamespaces` does not match it any more. Its channels that are older go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Time>,
}

impl AdmittedNamespace {
    /// Whether that channel of the namespace was there before it was shut out. Both times are in seconds: one of the
    /// very second counts as older.
    #[must_use]
    pub fn holds(&self, channel: &ObjectMeta) -> bool {
        let made = channel.creation_timestamp.as_ref();
        match &self.revoked {
            None => true,
            Some(revoked) => made.is_some_and(|made| made.0 <= revoked.0),
        }
    }

    /// When its channels stop accepting, with this grace.
    #[must_use]
    pub fn ends(&self, grace: Duration) -> Option<Timestamp> {
        self.revoked.as_ref()?.0.checked_add(grace).ok()
    }
}

/// A namespace as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// Whether `allowedNamespaces` matches it.
    pub allowed: Allowed,
}

/// Whether `allowedNamespaces` matches a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they say it")]
pub enum Allowed {
    Yes,
    No,
}

/// What is remembered of that namespace. `uid`: its UID, where that is known.
#[must_use]
pub fn find<'a>(
    all: &'a [AdmittedNamespace],
    name: &str,
    uid: Option<&str>,
) -> Option<&'a AdmittedNamespace> {
    all.iter()
        .find(|one| one.name == name && uid.is_none_or(|uid| one.uid == uid))
}

/// What is to be remembered of a namespace; nothing of one that was never allowed.
#[must_use]
pub fn next(
    before: Option<&AdmittedNamespace>,
    namespace: &Present<'_>,
    now: Timestamp,
) -> Option<AdmittedNamespace> {
    let before = before.filter(|before| before.uid == namespace.uid);
    let revoked = match (namespace.allowed, before) {
        (Allowed::Yes, _) => None,
        (Allowed::No, None) => return None,
        (Allowed::No, Some(before)) => {
            // In whole seconds, as it is written.
            let now = || Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
            Some(before.revoked.clone().unwrap_or_else(now))
        }
    };
    Some(AdmittedNamespace {
        name: namespace.name.to_owned(),
        uid: namespace.uid.to_owned(),
        revoked,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn present(uid: &str, allowed: Allowed) -> Present<'_> {
        Present {
            name: "shop",
            uid,
            allowed,
        }
    }

    fn made(second: i64) -> ObjectMeta {
        ObjectMeta {
            creation_timestamp: Some(Time(at(second))),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_namespace_that_was_allowed_is_remembered_and_when_it_was_shut_out_does_not_move() {
        let allowed = next(None, &present("u", Allowed::Yes), at(10)).unwrap();
        assert_eq!(allowed.revoked, None);
        let revoked = next(Some(&allowed), &present("u", Allowed::No), at(20)).unwrap();
        assert_eq!(revoked.revoked, Some(Time(at(20))));
        let later = next(Some(&revoked), &present("u", Allowed::No), at(30)).unwrap();
        assert_eq!(later, revoked);
        assert_eq!(later.ends(Duration::from_secs(5)), Some(at(25)));
        let again = next(Some(&later), &present("u", Allowed::Yes), at(40)).unwrap();
        assert_eq!(again, allowed);
    }

    #[test]
    fn one_that_never_was_and_one_that_took_its_name_are_not() {
        assert_eq!(next(None, &present("u", Allowed::No), at(1)), None);
        let allowed = next(None, &present("u", Allowed::Yes), at(1));
        assert_eq!(
            next(allowed.as_ref(), &present("another", Allowed::No), at(2)),
            None
        );
        let all = [allowed.unwrap()];
        assert_eq!(find(&all, "shop", Some("another")), None);
        assert_eq!(find(&all, "shop", None), all.first());
    }

    #[test]
    fn channels_made_after_it_was_shut_out_are_new() {
        let allowed = next(None, &present("u", Allowed::Yes), at(1)).unwrap();
        assert!(allowed.holds(&made(99)));
        let revoked = next(Some(&allowed), &present("u", Allowed::No), at(20)).unwrap();
        assert!(revoked.holds(&made(20)));
        assert!(!revoked.holds(&made(21)));
        assert!(
            !revoked.holds(&ObjectMeta::default()),
            "no API server made it"
        );
    }
}
