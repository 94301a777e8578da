//! What holds attempts back does: a pause, a filter, a deletion, an answer that asked to wait.

use std::{collections::HashMap, time::Duration};

use busway_core::outcome::{Outcome, Verdict};
use busway_dataplane::Stage;

use super::{History, Note, Violations};
use crate::sim::{habit::How, plan::QUIET};

/// How long a request may be under way to a host that has no trouble of its own.
const UNDER_WAY: Duration = Duration::from_millis(500);

pub(super) fn check(history: &History<'_>, found: &mut Violations) {
    // Who asked to be left alone: from when until when.
    let mut asked: HashMap<usize, (Duration, Duration)> = HashMap::new();
    let mut answers: HashMap<(usize, u32, u32), u64> = HashMap::new();
    for line in history.lines {
        let at = line.at;
        match line.note {
            Note::Started => asked.clear(),
            Note::Published { .. } => asked.retain(|sub, _| {
                // Another subscriber, or another subscription.
                let mut known = history
                    .within(*sub, at, at)
                    .map(|it| it.map(|(life, shape)| (*life, shape.path)));
                let first = known.next();
                known.all(|other| Some(other) == first)
            }),
            Note::Answered {
                stage: Stage::Subscriber,
                sub,
                number,
                attempt,
                status: 429 | 503,
                ..
            } if at < QUIET => {
                let answer =
                    history
                        .plan
                        .answer(Duration::ZERO, sub, Stage::Subscriber, number, attempt);
                if let How::Asking(_, seconds) = answer.how {
                    answers.insert((sub, number, attempt), seconds);
                }
            }
            Note::Seen {
                stage: Stage::Subscriber,
                sub,
                number,
                ..
            } if history.plan.subs[sub].wired => {
                let kind = history.plan.message(number).kind;
                let since = at.saturating_sub(UNDER_WAY);
                if !history
                    .within(sub, since, at)
                    .flatten()
                    .any(|(_, shape)| shape.wants(kind))
                {
                    found.push(format!(
                        "{at:?}: s{sub} got {number}, which it does not want"
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
                attempted(history, stage, sub, number, began, found);
                if stage != Stage::Subscriber {
                    continue;
                }
                if let Some((from, until)) = asked.get(&sub)
                    && began > *from
                    && began < *until
                {
                    found.push(format!("{began:?}: s{sub} attempts {number}, though asked to wait from {from:?} to {until:?}"));
                }
                // What another subscriber answered, before an edit, says nothing of this one.
                let mut known = history.within(sub, began, at).flatten();
                let who = known.next().map(|(life, shape)| (*life, shape.path));
                let is_same = known.all(|(life, shape)| Some((*life, shape.path)) == who);
                let is_retried = history.verdict(sub, outcome) == Verdict::Retry;
                if let (Outcome::Status(429 | 503), Some(seconds)) =
                    (outcome, answers.get(&(sub, number, attempt)))
                    && is_same
                    && is_retried
                {
                    let most = history
                        .at(sub, at)
                        .flatten()
                        .map(|(_, shape)| shape.policy.retry_after_max)
                        .min();
                    let wait = Duration::from_secs(*seconds).min(most.unwrap_or_default());
                    let known = asked.entry(sub).or_insert((at, at));
                    let from = if known.1 < at { at } else { known.0 };
                    *known = (from, known.1.max(at + wait));
                }
            }
            _ => {}
        }
    }
}

/// An attempt that began then was allowed to.
fn attempted(
    history: &History<'_>,
    stage: Stage,
    sub: usize,
    number: u32,
    began: Duration,
    found: &mut Violations,
) {
    let kind = history.plan.message(number).kind;
    let life = history.life(sub, number);
    let mut now = history.at(sub, began).flatten().peekable();
    if now.peek().is_none() {
        return found.push(format!(
            "{began:?}: s{sub} is deleted, and {number} is attempted"
        ));
    }
    let now: Vec<_> = now.collect();
    if !now.iter().any(|(known, _)| Some(*known) == life) {
        found.push(format!(
            "{began:?}: s{sub} attempts {number}, of another life"
        ));
    }
    if now.iter().all(|(_, shape)| shape.paused) {
        found.push(format!(
            "{began:?}: s{sub} is paused, and {number} is attempted ({stage:?})"
        ));
    }
    if stage == Stage::Subscriber && !now.iter().any(|(_, shape)| shape.wants(kind)) {
        found.push(format!(
            "{began:?}: s{sub} attempts {number}, which its filter excludes"
        ));
    }
}
