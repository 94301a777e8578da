//! What must hold of every run, whatever went wrong in it.

mod attempts;
mod calm;
mod gone;
mod held;
mod limits;
mod order;
mod settling;

use std::time::Duration;

use busway_core::outcome::{Outcome, Verdict, classify};

pub(crate) use calm::outcomes;

use super::{
    ledger::{Line, Note, Told},
    plan::Plan,
    run::Ran,
    shape::Shape,
};

/// A run as the checks read it.
pub(crate) struct History<'r> {
    plan: &'r Plan,
    lines: &'r [Line],
    /// What the dispatcher was told, and when.
    published: Vec<(Duration, &'r [Told])>,
}

/// What must hold and does not, in words.
pub(crate) type Violations = Vec<String>;

pub(crate) fn check(plan: &Plan, ran: &Ran) -> Violations {
    let history = History::new(plan, &ran.lines);
    let mut found = Violations::new();
    if let Some(broken) = &ran.broken {
        found.push(format!("the simulation broke: {broken}"));
    }
    attempts::check(&history, &mut found);
    order::check(&history, &mut found);
    settling::check(&history, &ran.left, &mut found);
    held::check(&history, &mut found);
    gone::check(&history, &mut found);
    limits::check(&history, &mut found);
    calm::check(&history, &mut found);
    found
}

impl<'r> History<'r> {
    fn new(plan: &'r Plan, lines: &'r [Line]) -> Self {
        let published = lines.iter().filter_map(|line| match &line.note {
            Note::Published { routes } => Some((line.at, routes.as_slice())),
            _ => None,
        });
        Self {
            plan,
            lines,
            published: published.collect(),
        }
    }

    /// What a subscription may have been at a moment: of the instant of a change, both.
    fn at(&self, sub: usize, at: Duration) -> impl Iterator<Item = Option<&'r (u64, Shape)>> {
        self.within(sub, at, at)
    }

    /// What it was in a span of time.
    fn within(
        &self,
        sub: usize,
        from: Duration,
        to: Duration,
    ) -> impl Iterator<Item = Option<&'r (u64, Shape)>> {
        let before = self
            .published
            .iter()
            .rposition(|(at, _)| *at < from)
            .unwrap_or(0);
        let all = self.published[before..].iter();
        all.take_while(move |(at, _)| *at <= to)
            .map(move |(_, routes)| routes[sub].as_ref())
    }

    /// Every shape that one life of a subscription had.
    fn of(&self, sub: usize, life: u64) -> impl Iterator<Item = &'r Shape> {
        let all = self
            .published
            .iter()
            .filter_map(move |(_, routes)| routes[sub].as_ref());
        all.filter(move |(known, _)| *known == life)
            .map(|(_, shape)| shape)
    }

    /// What an attempt's end means to a subscription.
    fn verdict(&self, sub: usize, outcome: Outcome) -> Verdict {
        classify(outcome, &self.plan.subs[sub].shape.policy.status_rules)
    }

    /// The life that a message was kept for.
    fn life(&self, sub: usize, number: u32) -> Option<u64> {
        self.lines.iter().find_map(|line| match line.note {
            Note::Kept {
                sub: s,
                life,
                number: n,
            } if (s, n) == (sub, number) => Some(life),
            _ => None,
        })
    }
}
