//! With `onGone: pause`, a subscriber that is gone is left alone until the subscription changes.

use std::{collections::HashMap, time::Duration};

use busway_core::{outcome::Verdict, policy::OnGone};
use busway_dataplane::Stage;

use super::{History, Note, Violations};

pub(super) fn check(history: &History<'_>, found: &mut Violations) {
    // When each was found to be gone, and changed.
    let mut gone: HashMap<usize, Duration> = HashMap::new();
    let mut edited: HashMap<usize, Duration> = HashMap::new();
    for line in history.lines {
        let at = line.at;
        match line.note {
            Note::Started => gone.clear(),
            Note::Fault {
                kind: "paused" | "resumed" | "created" | "replaced" | "deleted" | "edited",
                sub: Some(sub),
            } => {
                edited.insert(sub, at);
                gone.remove(&sub);
            }
            Note::Attempted {
                stage: Stage::Subscriber,
                sub,
                number,
                outcome,
                took,
                ..
            } => {
                let began = at - took;
                if gone.get(&sub).is_some_and(|since| began > *since) {
                    let since = gone[&sub];
                    found.push(format!(
                        "{began:?}: s{sub} attempts {number}, and was gone at {since:?}"
                    ));
                }
                let mut now = history.at(sub, began).flatten();
                let pauses = now.all(|(_, shape)| shape.policy.on_gone == OnGone::Pause);
                let is_of_now = edited.get(&sub).is_none_or(|edited| *edited < began);
                if pauses && is_of_now && history.verdict(sub, outcome) == Verdict::Gone {
                    gone.entry(sub).or_insert(at);
                }
            }
            _ => {}
        }
    }
}
