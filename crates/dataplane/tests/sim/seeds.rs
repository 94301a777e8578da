//! Which seeds are run, and what is told of them.

use std::{io::Write as _, ops::Range, panic::catch_unwind, sync::Mutex};

use super::{
    check::{self, Violations},
    ledger::{self, Fired},
    plan::Plan,
    run::{Ran, run},
};

/// Seeds of one part.
const PART: u64 = 25;
/// Parts of `make test`.
const PARTS: u64 = 8;
/// Faults, answers and edits, each of which has to fire.
const KINDS: [&str; 34] = [
    "answer 410",
    "answer 429",
    "answer 4xx",
    "answer 5xx",
    "answer Retry-After",
    "answer cut",
    "attempt reset",
    "attempt timed out",
    "closed unanswered",
    "connection reset",
    "count lost",
    "created",
    "dead letter not stored",
    "delay",
    "deleted",
    "dispatcher crashed",
    "dispatcher drained",
    "drop",
    "edited",
    "hold",
    "no answer",
    "not accepted",
    "not stored by the bus",
    "partition",
    "partition one way",
    "partition the other way",
    "paused",
    "replaced",
    "resumed",
    "settlement lost",
    "slow answer",
    "stream of the bus broken",
    "stream of the bus not opened",
    "subscriber crashed",
];

/// What the parts found; the last one to end looks at the whole.
static ALL: Mutex<(u64, Fired)> = Mutex::new((0, Fired::new()));

/// Tells it past the test harness, which shows what a test prints only when it fails.
fn say(text: &str) {
    let _closed = writeln!(std::io::stderr(), "{text}");
}

fn asked() -> Option<u64> {
    std::env::var("SEED").ok()?.parse().ok()
}

fn one(seed: u64) -> (Violations, Fired) {
    let ran = catch_unwind(|| {
        let plan = Plan::of(seed);
        let ran = run(plan);
        let found = check::check(&Plan::of(seed), &ran);
        if std::env::var_os("TRACE").is_some() {
            for line in &ran.lines {
                say(&format!("{:>9.3} {:?}", line.at.as_secs_f64(), line.note));
            }
        }
        (found, ledger::fired(&ran.lines))
    });
    ran.unwrap_or_else(|_| (vec!["it panicked".to_owned()], Fired::new()))
}

fn add(sum: &mut Fired, fired: &Fired) {
    for (kind, times) in fired {
        *sum.entry(kind).or_default() += times;
    }
}

fn table(fired: &Fired) -> String {
    let rows = fired
        .iter()
        .map(|(kind, times)| format!("  {times:>7} {kind}\n"));
    rows.collect()
}

fn tell(seed: u64, found: &Violations) {
    for what in found.iter().take(12) {
        say(&format!("SEED={seed}: {what}"));
    }
    if found.len() > 12 {
        say(&format!("SEED={seed}: and {} more", found.len() - 12));
    }
}

/// The seeds of a part, and whether they are those of `make test`: a soak runs others.
fn seeds(part: u64) -> (Range<u64>, bool) {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let (first, each) = match (number("FIRST_SEED"), number("SEEDS_EACH")) {
        (Some(first), Some(each)) => (first, each),
        _ => (0, PART),
    };
    let from = first + part * each;
    (from..from + each, each == PART && first == 0)
}

/// Runs the seeds of one part, or the one that is asked for.
pub(crate) fn part(part: u64) {
    let (own, is_test) = seeds(part);
    let seeds = match asked() {
        Some(seed) if own.contains(&seed) || (part == 0 && seed >= PART * PARTS) => seed..seed + 1,
        Some(_) => return,
        None => own,
    };
    let mut sum = Fired::new();
    let mut broken = Vec::new();
    for seed in seeds.clone() {
        let (found, fired) = one(seed);
        add(&mut sum, &fired);
        if !found.is_empty() {
            tell(seed, &found);
            broken.push(seed);
        }
    }
    say(&format!(
        "simulated seeds {seeds:?}, violated by {broken:?}"
    ));
    let all = {
        let mut all = ALL.lock().unwrap();
        all.0 += 1;
        add(&mut all.1, &sum);
        (all.0 == PARTS && asked().is_none()).then(|| all.1.clone())
    };
    if let Some(all) = all {
        say(&format!(
            "faults that fired in all of them:\n{}",
            table(&all)
        ));
        let silent: Vec<_> = KINDS
            .iter()
            .filter(|kind| !all.contains_key(*kind))
            .collect();
        assert!(silent.is_empty() || !is_test, "never fired: {silent:?}");
    }
    let again = broken.first().map(|seed| format!("SEED={seed} make test"));
    assert!(broken.is_empty(), "seeds {broken:?}: {again:?}");
}

/// Each of these, run twice, is the same run.
pub(crate) fn repeats(seeds: &[u64]) {
    for seed in asked().iter().chain(seeds).take(seeds.len()) {
        let [one, other] = [(), ()].map(|()| run(Plan::of(*seed)));
        let differs = one.lines.iter().zip(&other.lines).position(|(a, b)| a != b);
        let at = |ran: &Ran, line: usize| format!("{:?}", ran.lines.get(line));
        if let Some(line) = differs {
            panic!(
                "SEED={seed}, line {line}: {} and then {}",
                at(&one, line),
                at(&other, line)
            );
        }
        assert_eq!(one.lines.len(), other.lines.len(), "SEED={seed}");
        assert!(
            one.lines.len() > 100,
            "SEED={seed}: hardly anything happened"
        );
    }
}

/// So many runs, with the others well and with the others in trouble, are the same for those that
/// are well.
pub(crate) fn compares(many: usize) {
    // Where the dispatcher itself is stopped, what was under way comes again, to everybody.
    let seeds = asked().into_iter().chain(0..);
    let fit = seeds.filter(|seed| !Plan::of(*seed).stops);
    for seed in fit.take(many) {
        let both = [Plan::well_sent(seed), Plan::with_others_well(seed)].map(run);
        for (sub, _) in (0..).zip(&Plan::of(seed).subs).filter(|(_, sub)| sub.calm) {
            let [sick, well] = [&both[0], &both[1]].map(|ran| check::outcomes(&ran.lines, sub));
            assert_eq!(sick, well, "SEED={seed}: s{sub}");
            assert!(!sick.is_empty(), "SEED={seed}: s{sub} got nothing");
        }
    }
}

/// One of the seeds finds a planted bug; prints which, and how it shows.
#[cfg(busway_plant)]
pub(crate) fn finds(plant: busway_dataplane::plant::Plant) {
    busway_dataplane::plant::set(Some(plant));
    let found = (0..PART * PARTS).find_map(|seed| Some((seed, one(seed).0.into_iter().next()?)));
    busway_dataplane::plant::set(None);
    match found {
        Some((seed, what)) => say(&format!("planted {plant:?}: found by seed {seed}: {what}")),
        None => panic!("planted {plant:?}: not found by {} seeds", PART * PARTS),
    }
}
