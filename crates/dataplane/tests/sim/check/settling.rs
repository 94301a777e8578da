//! Nothing is acknowledged that was not answered, filtered or dead-lettered; nothing is lost, and a
//! dead letter tells the truth.

use std::collections::{BTreeMap, HashMap, HashSet};

use busway_core::outcome::{Cause, Outcome, Verdict};
use busway_dataplane::Stage;

use super::{History, Note, Violations};
use crate::sim::ledger::Letter;

#[derive(Default)]
struct Message {
    /// Statuses of whole answers: of the subscriber, of the target of replies, of the sink.
    answered: [Vec<u16>; 3],
    stored: bool,
    /// Attempts that the dispatcher ended: which, how.
    attempted: Vec<(u32, Outcome)>,
    /// The count with which it was given out last.
    gave: u32,
    condemned: Vec<Cause>,
}

/// Whether a status says that the message was taken.
fn takes(history: &History<'_>, sub: usize, status: u16) -> bool {
    history.verdict(sub, Outcome::Status(status)) == Verdict::Delivered
}

pub(super) fn check(history: &History<'_>, left: &[(usize, u32)], found: &mut Violations) {
    let mut messages: HashMap<(usize, u32), Message> = HashMap::new();
    let mut accepted = Vec::new();
    let mut kept = HashSet::new();
    for line in history.lines {
        let at = line.at;
        match &line.note {
            Note::Accepted { number } => accepted.push(*number),
            Note::Kept { number, .. } => {
                kept.insert(*number);
            }
            Note::Gave {
                sub,
                number,
                attempts,
                ..
            } => {
                let message = messages.entry((*sub, *number)).or_default();
                message.gave = *attempts;
            }
            Note::Answered {
                stage,
                sub,
                number,
                status,
                ..
            } => {
                let message = messages.entry((*sub, *number)).or_default();
                message.answered[place(*stage)].push(*status);
            }
            Note::Attempted {
                stage,
                sub,
                number,
                attempt,
                outcome,
                ..
            } if *stage != Stage::DeadLetter => {
                let message = messages.entry((*sub, *number)).or_default();
                message.attempted.push((*attempt, *outcome));
            }
            Note::Condemned { sub, number, cause } => {
                let message = messages.entry((*sub, *number)).or_default();
                message.condemned.push(*cause);
                if !is_cause(history, message, *sub, *number, *cause, at) {
                    let last = message.attempted.last();
                    found.push(format!("{at:?}: s{sub} condemns {number} as {cause:?}, its last attempt was {last:?}"));
                }
            }
            Note::Stored {
                sub,
                number,
                cause,
                letter,
            } => {
                let message = messages.entry((*sub, *number)).or_default();
                message.stored = true;
                if !message.condemned.contains(cause) || !is_true(message, letter) {
                    found.push(format!(
                        "{at:?}: s{sub} stores {number} as {cause:?} with {letter:?} after {:?}",
                        message.attempted
                    ));
                }
            }
            Note::Seen {
                stage: Stage::DeadLetter,
                sub,
                number,
                letter,
                ..
            } => {
                let message = messages.entry((*sub, *number)).or_default();
                if !letter
                    .as_ref()
                    .is_some_and(|letter| is_true(message, letter))
                {
                    found.push(format!(
                        "{at:?}: the sink got {number} of s{sub} with {letter:?} after {:?}",
                        message.attempted
                    ));
                }
            }
            Note::Done {
                sub, life, number, ..
            } => {
                let message = messages.entry((*sub, *number)).or_default();
                if !is_justified(history, message, *sub, *life, *number) {
                    found.push(format!(
                        "{at:?}: s{sub} settled {number} after answers {:?} and attempts {:?}",
                        message.answered, message.attempted
                    ));
                }
            }
            Note::Drained { lost } if *lost > 0 => {
                found.push(format!("{at:?}: a drain lost {lost}"))
            }
            _ => {}
        }
    }
    // Each is accepted once, and what is accepted is kept.
    if accepted.len() != history.plan.messages.len() {
        found.push(format!(
            "{} of {} were accepted",
            accepted.len(),
            history.plan.messages.len()
        ));
    }
    for number in accepted {
        if !kept.contains(&number)
            && history
                .published
                .iter()
                .all(|(_, routes)| routes.iter().all(Option::is_some))
        {
            found.push(format!("{number} was accepted and never kept"));
        }
    }
    let mut by_sub: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (sub, number) in left {
        by_sub.entry(*sub).or_default().push(*number);
    }
    for (sub, numbers) in by_sub {
        found.push(format!(
            "s{sub}: {numbers:?} never came to an end, though all was well at last"
        ));
    }
}

const fn place(stage: Stage) -> usize {
    match stage {
        Stage::Subscriber => 0,
        Stage::Reply => 1,
        Stage::DeadLetter => 2,
    }
}

fn is_justified(
    history: &History<'_>,
    message: &Message,
    sub: usize,
    life: u64,
    number: u32,
) -> bool {
    let kind = history.plan.message(number).kind;
    let taken = |statuses: &[u16]| statuses.iter().any(|status| takes(history, sub, *status));
    if message.stored || taken(&message.answered[2]) {
        return true;
    }
    if history.of(sub, life).any(|shape| !shape.wants(kind)) {
        return true;
    }
    let [first, replies, _] = &message.answered;
    // With a body: there is a reply, which has to be through.
    let replying = first.iter().any(|status| matches!(status, 200 | 201));
    let mut silent = first.iter().filter(|status| !matches!(status, 200 | 201));
    let silent = silent.any(|status| takes(history, sub, *status));
    let replied = taken(replies) || history.of(sub, life).any(|shape| !shape.reply);
    silent || (replying && replied)
}

fn is_cause(
    history: &History<'_>,
    message: &Message,
    sub: usize,
    number: u32,
    cause: Cause,
    at: std::time::Duration,
) -> bool {
    let last = message
        .attempted
        .last()
        .map(|(_, outcome)| history.verdict(sub, *outcome));
    let Some(life) = history.life(sub, number) else {
        return false;
    };
    let least = history
        .of(sub, life)
        .map(|shape| shape.policy.retry)
        .min()
        .unwrap_or(0);
    match cause {
        Cause::Rejected => last == Some(Verdict::Reject),
        Cause::Gone => last == Some(Verdict::Gone),
        // Counted by the bus, whatever comes meanwhile of a copy that it had given out before; or just now.
        Cause::Exhausted if message.gave > least => true,
        Cause::Exhausted => {
            let attempts = message.attempted.last().map_or(0, |(attempt, _)| *attempt);
            last == Some(Verdict::Retry) && attempts > least
        }
        Cause::Expired => {
            let kept = history.lines.iter().find_map(|line| match line.note {
                Note::Kept {
                    sub: s, number: n, ..
                } if (s, n) == (sub, number) => Some(line.at),
                _ => None,
            });
            let age = at - kept.unwrap_or_default();
            history
                .of(sub, life)
                .any(|shape| shape.policy.max_age.is_some_and(|most| age > most))
        }
        Cause::Overflow | Cause::HopLimit => false,
    }
}

/// Whether a dead letter tells of an attempt that was.
fn is_true(message: &Message, letter: &Letter) -> bool {
    let told = |outcome: Outcome| match outcome {
        Outcome::Status(status) => letter.code == status,
        Outcome::Failed(failure) => letter.code == 0 && letter.data == failure.reason(),
    };
    // No attempt is known where the last one was before a crash, or the message was too old.
    let unknown = letter.code == 0
        && message.condemned.iter().any(|cause| {
            matches!(cause, Cause::Expired | Cause::Exhausted) && letter.data == cause.reason()
        });
    let mut attempted = message.attempted.iter();
    unknown || attempted.any(|(attempt, outcome)| *attempt == letter.attempts && told(*outcome))
}
