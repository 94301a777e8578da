//! Attempts are counted by one owner, never exceed the policy, and are spaced as it says.

use std::collections::HashMap;

use busway_core::outcome::Verdict;
use busway_dataplane::Stage;

use super::{History, Note, Violations};

#[derive(Default)]
struct Message {
    /// When it was given out last, and with which count.
    gave: (std::time::Duration, u32),
    gives: u32,
    /// The last attempt since.
    last: Option<u32>,
    /// The count that the bus was told last.
    counted: u32,
    /// Attempts that came to their end.
    ended: u32,
    /// Whether the last attempt that ended had begun since.
    is_own: bool,
    /// No attempt may follow.
    over: bool,
}

pub(super) fn check(history: &History<'_>, found: &mut Violations) {
    let mut messages: HashMap<(usize, u32), Message> = HashMap::new();
    let mut waits = HashMap::new();
    // Counts that the bus failed to store, by subscription: so many attempts may be made again.
    let mut lost: HashMap<usize, u32> = HashMap::new();
    for line in history.lines {
        let at = line.at;
        match line.note {
            Note::Fault {
                kind: "count lost",
                sub: Some(sub),
            } => *lost.entry(sub).or_default() += 1,
            Note::Gave {
                sub,
                number,
                attempts,
                ..
            } => {
                let message = messages.entry((sub, number)).or_default();
                message.gave = (at, attempts);
                message.gives += 1;
                (message.last, message.over) = (None, false);
                waits.retain(|(_, s, n), _| (*s, *n) != (sub, number));
            }
            Note::Counted {
                sub,
                number,
                attempts,
                ..
            } => {
                let message = messages.entry((sub, number)).or_default();
                message.counted = message.counted.max(attempts);
            }
            Note::Waiting {
                stage,
                sub,
                number,
                attempts,
                wait,
            } => {
                // Else it is one of a stream that broke.
                let message = messages.entry((sub, number)).or_default();
                let is_own = match stage {
                    Stage::Subscriber => message.is_own && message.last == Some(attempts),
                    Stage::Reply | Stage::DeadLetter => message.gives == 1,
                };
                if is_own {
                    waits.insert((stage, sub, number), at + wait);
                }
                let Some(life) = history.life(sub, number) else {
                    continue;
                };
                let least = history
                    .of(sub, life)
                    .map(|shape| shape.least_wait(attempts))
                    .min();
                if least.is_some_and(|least| wait < least) {
                    found.push(format!("{at:?}: s{sub} waits {wait:?} with {number} after attempt {attempts}, at least {least:?} by its policy"));
                }
            }
            Note::Seen {
                sub,
                number,
                attempt,
                ..
            } => {
                let most = history
                    .life(sub, number)
                    .and_then(|life| history.of(sub, life).map(|s| s.policy.retry).max());
                if most.is_some_and(|most| attempt > most + 1) {
                    found.push(format!(
                        "{at:?}: s{sub} got attempt {attempt} of {number}, retry is {most:?}"
                    ));
                }
            }
            Note::Attempted {
                stage,
                sub,
                number,
                attempt,
                outcome,
                took,
            } => {
                let began = at - took;
                let message = messages.entry((sub, number)).or_default();
                if stage == Stage::Subscriber {
                    message.ended += 1;
                    let (gave, count) = message.gave;
                    // Else it began before the message was given out anew.
                    message.is_own = began > gave || (began == gave && attempt == count + 1);
                    if !message.is_own {
                        continue;
                    }
                }
                if let Some(due) = waits.remove(&(stage, sub, number))
                    && began < due
                {
                    found.push(format!("{at:?}: s{sub} attempt {attempt} of {number} ({stage:?}) began at {began:?}, due at {due:?}"));
                }
                if stage != Stage::Subscriber {
                    continue;
                }
                let count = message.gave.1;
                let expected = message.last.unwrap_or(count) + 1;
                if attempt != expected {
                    found.push(format!(
                        "{at:?}: s{sub} attempt {attempt} of {number}, {expected} is next"
                    ));
                }
                if message.over {
                    found.push(format!(
                        "{at:?}: s{sub} attempts {number} again after a definite answer"
                    ));
                }
                if attempt > 1 && message.counted < attempt - 1 {
                    let counted = message.counted;
                    found.push(format!("{at:?}: s{sub} attempt {attempt} of {number}, but the bus was told of {counted}"));
                }
                message.last = Some(attempt);
                message.over = history.verdict(sub, outcome) != Verdict::Retry;
                let retry = history
                    .at(sub, began)
                    .flatten()
                    .map(|(_, shape)| shape.policy.retry)
                    .max();
                if retry.is_some_and(|retry| attempt > retry + 1) {
                    found.push(format!(
                        "{at:?}: s{sub} attempt {attempt} of {number}, retry is {retry:?}"
                    ));
                }
            }
            _ => {}
        }
    }
    for ((sub, number), message) in messages {
        let Some(life) = history.life(sub, number) else {
            continue;
        };
        let retry = history
            .of(sub, life)
            .map(|shape| shape.policy.retry)
            .max()
            .unwrap_or(0);
        let again = message.gives.saturating_sub(1) + lost.get(&sub).copied().unwrap_or(0);
        if message.ended > retry + 1 + again {
            let Message { ended, gives, .. } = message;
            found.push(format!(
                "s{sub}: {ended} attempts of {number} in {gives} turns, retry is {retry}"
            ));
        }
    }
}
