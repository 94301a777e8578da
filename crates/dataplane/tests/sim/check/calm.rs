//! One subscription's faults change nothing for another.

use std::{collections::BTreeMap, time::Duration};

use busway_dataplane::Stage;

use super::{History, Note, Violations};

/// Within what a message is delivered to a subscriber that is well, while the dispatcher is up: three
/// of the longest ways and answers for each earlier message of its key.
const WITHIN: Duration = Duration::from_millis(700);

pub(super) fn check(history: &History<'_>, found: &mut Violations) {
    for (sub, plan) in history.plan.subs.iter().enumerate() {
        if plan.calm {
            in_time(history, sub, found);
            once(history, sub, found);
        }
    }
}

fn in_time(history: &History<'_>, sub: usize, found: &mut Violations) {
    let mut kept: BTreeMap<u32, Duration> = BTreeMap::new();
    // While the dispatcher is down, nobody is served.
    let mut down: Option<Duration> = Some(Duration::ZERO);
    for line in history.lines {
        let at = line.at;
        match line.note {
            Note::Kept { sub: s, number, .. } if s == sub => {
                kept.insert(number, at);
            }
            Note::Stopping => down = down.or(Some(at)),
            Note::Started if down.take().is_some() => {
                kept.values_mut().for_each(|since| *since = at);
            }
            Note::Done { sub: s, number, .. } if s == sub => {
                let Some(since) = kept.remove(&number) else {
                    continue;
                };
                if down.is_none() && at - since > WITHIN {
                    found.push(format!(
                        "{at:?}: s{sub} is well, and was given {number} after {:?}",
                        at - since
                    ));
                }
            }
            _ => {}
        }
    }
}

fn once(history: &History<'_>, sub: usize, found: &mut Violations) {
    if history.plan.stops {
        return;
    }
    for (number, attempts) in outcomes(history.lines, sub) {
        if attempts != [1] {
            found.push(format!(
                "s{sub} is well, and got {number} with attempts {attempts:?}"
            ));
        }
    }
}

/// What a subscriber saw: the attempts of each message.
pub(crate) fn outcomes(lines: &[super::Line], sub: usize) -> BTreeMap<u32, Vec<u32>> {
    let mut seen: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for line in lines {
        if let Note::Seen {
            stage: Stage::Subscriber,
            sub: s,
            number,
            attempt,
            ..
        } = line.note
            && s == sub
        {
            seen.entry(number).or_default().push(attempt);
        }
    }
    seen
}
