//! Of one key, a later message is never attempted before an earlier one is settled.

use std::collections::{BTreeMap, HashSet};

use busway_dataplane::Stage;

use super::{History, Note, Violations};

pub(super) fn check(history: &History<'_>, found: &mut Violations) {
    // By subscription, life and key: the messages in their order.
    let mut kept: BTreeMap<(usize, u64, u64), Vec<u32>> = BTreeMap::new();
    let mut ended = HashSet::new();
    for line in history.lines {
        match line.note {
            Note::Kept { sub, life, number } => {
                let key = history.plan.message(number).key;
                kept.entry((sub, life, key)).or_default().push(number);
            }
            Note::Done {
                sub, life, number, ..
            } => {
                ended.insert((sub, life, number));
            }
            Note::Seen {
                stage: Stage::Subscriber,
                sub,
                number,
                ..
            } => {
                let Some(life) = history.life(sub, number) else {
                    continue;
                };
                if !history.of(sub, life).any(|shape| shape.ordered) {
                    continue;
                }
                let key = history.plan.message(number).key;
                let wanted = |number: u32| {
                    let kind = history.plan.message(number).kind;
                    history.of(sub, life).all(|shape| shape.wants(kind))
                };
                let row = &kept[&(sub, life, key)];
                let earlier = row.iter().take_while(|known| **known != number);
                for first in earlier.filter(|first| wanted(**first)) {
                    if !ended.contains(&(sub, life, *first)) {
                        let at = line.at;
                        found.push(format!(
                            "{at:?}: s{sub} got {number} of key {key} before {first} was settled"
                        ));
                    }
                }
            }
            _ => {}
        }
    }
}
