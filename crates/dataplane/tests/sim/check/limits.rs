//! `maxInFlight` and `rate` are never exceeded, by what the dispatcher does and by what the
//! subscriber sees.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use busway_core::gate::{MaxInFlight, Rate};
use busway_dataplane::Stage;

use super::{History, Note, Violations};

/// How much later or earlier a request may come than another that was sent with it.
const SPREAD: Duration = Duration::from_millis(60);

pub(super) fn check(history: &History<'_>, found: &mut Violations) {
    for sub in 0..history.plan.subs.len() {
        begun(history, sub, found);
        seen(history, sub, found);
    }
}

/// The bound in a span of time.
fn most(history: &History<'_>, sub: usize, from: Duration, to: Duration) -> Option<u32> {
    let bounds = history.within(sub, from, to).flatten();
    bounds
        .map(|(_, shape)| shape.policy.max_in_flight.most())
        .max()
}

/// What the dispatcher tells: from when to when each attempt was in flight.
fn begun(history: &History<'_>, sub: usize, found: &mut Violations) {
    let mut spans: Vec<(Duration, Duration)> = Vec::new();
    let mut longest = Duration::ZERO;
    let mut since = Duration::ZERO;
    for line in history.lines {
        match line.note {
            // Attempts of a crashed one are not told of, and its rate begins anew.
            Note::Started | Note::Published { .. } => {
                rates(history, sub, since, &spans, found);
                spans.clear();
                since = line.at;
            }
            Note::Attempted {
                stage: Stage::Subscriber,
                sub: s,
                took,
                ..
            } if s == sub => {
                spans.push((line.at - took, line.at));
                longest = longest.max(took);
            }
            _ => {}
        }
        let Note::Attempted {
            stage: Stage::Subscriber,
            sub: s,
            number,
            ..
        } = line.note
        else {
            continue;
        };
        if s != sub {
            continue;
        }
        // Those that had begun when this one ended, and had not ended before.
        let (began, ended) = spans[spans.len() - 1];
        let at_once = spans
            .iter()
            .filter(|(b, e)| *b <= began && *e > began)
            .count();
        let bound = most(history, sub, began.saturating_sub(longest), ended);
        if bound.is_some_and(|bound| at_once > bound as usize) {
            found.push(format!(
                "{began:?}: {at_once} attempts of s{sub} at once with {number}, at most {bound:?}"
            ));
        }
    }
    rates(history, sub, since, &spans, found);
}

/// Of what began after it became what it is: it may have been another one before, also at that instant.
fn rates(
    history: &History<'_>,
    sub: usize,
    since: Duration,
    spans: &[(Duration, Duration)],
    found: &mut Violations,
) {
    let begun = spans.iter().map(|(began, _)| *began);
    let mut begun: Vec<Duration> = begun.filter(|began| *began > since).collect();
    begun.sort();
    let (Some(first), Some(last)) = (begun.first(), begun.last()) else {
        return;
    };
    let rates: Vec<_> = history
        .within(sub, *first, *last)
        .flatten()
        .map(|(_, shape)| shape.policy.rate)
        .collect();
    if let Some(Some(rate)) = rates.first()
        && rates.iter().all(|known| *known == Some(*rate))
        && let Some((from, to, many)) = faster(*rate, &begun, Duration::ZERO)
    {
        found.push(format!(
            "{from:?} to {to:?}: {many} attempts of s{sub}, its rate is {rate:?}"
        ));
    }
}

/// A span in which there were more than a rate allows.
fn faster(rate: Rate, at: &[Duration], spread: Duration) -> Option<(Duration, Duration, usize)> {
    for (index, from) in at.iter().enumerate() {
        for (more, to) in at[index..].iter().enumerate() {
            let passed = (*to - *from + spread).as_secs_f64();
            let allowed = passed.mul_add(rate.per_second, f64::from(rate.burst));
            if more as f64 + 1.0 > allowed + 0.01 {
                return Some((*from, *to, more + 1));
            }
        }
    }
    None
}

/// When each attempt began that came to an end, by message and attempt.
fn begins(history: &History<'_>, sub: usize) -> HashMap<(u32, u32), Duration> {
    let mut begins = HashMap::new();
    for line in history.lines {
        if let Note::Attempted {
            stage: Stage::Subscriber,
            sub: s,
            number,
            attempt,
            took,
            ..
        } = line.note
            && s == sub
        {
            begins.entry((number, attempt)).or_insert(line.at - took);
        }
    }
    begins
}

/// What a subscriber sees whose own host and network have no trouble.
fn seen(history: &History<'_>, sub: usize, found: &mut Violations) {
    let plan = &history.plan.subs[sub];
    if !plan.wired {
        return;
    }
    // Beside its timeout nothing ends an attempt but what is noted here.
    let sure = plan.shape.policy.timeout / 2;
    let mut busy: HashMap<u64, Duration> = HashMap::new();
    let mut came = Vec::new();
    let mut known = HashSet::new();
    let begun = begins(history, sub);
    let mut rate = plan.shape.policy.rate;
    let mut changed = Duration::ZERO;
    for line in history.lines {
        let at = line.at;
        match &line.note {
            Note::Stopping | Note::Started => {
                busy.clear();
                came.clear();
            }
            Note::Published { routes } => {
                busy.clear();
                let now = routes[sub]
                    .as_ref()
                    .and_then(|(_, shape)| shape.policy.rate);
                if now != rate {
                    (rate, changed) = (now, at);
                    came.clear();
                }
            }
            Note::Fault {
                kind: "replaced" | "created" | "deleted" | "edited",
                sub: Some(s),
            } if *s == sub => {
                busy.clear();
                came.clear();
            }
            Note::Seen {
                stage: Stage::Subscriber,
                sub: s,
                request,
                number,
                attempt,
                ..
            } if *s == sub => {
                busy.insert(*request, at);
                let at_once = busy.values().filter(|since| at - **since < sure).count();
                let bound = most(history, sub, at.saturating_sub(sure), at);
                let fixed = history
                    .at(sub, at)
                    .flatten()
                    .all(|(_, shape)| matches!(shape.policy.max_in_flight, MaxInFlight::Number(_)));
                if fixed && bound.is_some_and(|bound| at_once > bound as usize) {
                    found.push(format!("{at:?}: s{sub} sees {at_once} attempts at once with {number}, at most {bound:?}"));
                }
                // One that is repeated, because the connection had been closed, is no other attempt. One that was on its
                // way when the rate was set is not counted by it.
                let id = (*number, *attempt);
                if known.insert(id) && begun.get(&id).is_none_or(|begun| *begun > changed) {
                    came.push(at);
                }
                if let Some(rate) = rate
                    && let Some((from, to, many)) = faster(rate, &came, SPREAD)
                {
                    found.push(format!(
                        "{from:?} to {to:?}: s{sub} sees {many} attempts, its rate is {rate:?}"
                    ));
                    came.clear();
                }
            }
            Note::Left { request } => {
                busy.remove(request);
            }
            _ => {}
        }
    }
}
