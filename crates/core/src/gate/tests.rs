#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

const TOOK: Duration = Duration::from_millis(10);

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn gate(most: u32) -> Gate {
    Gate::new(MaxInFlight::Number(most), None)
}

fn failed(message: u64) -> Ended {
    Ended::Failed {
        message,
        overloaded: false,
    }
}

/// One attempt after the other, each of which may begin at once.
fn attempts(gate: &mut Gate, now: Duration, ended: impl IntoIterator<Item = Ended>) {
    for ended in ended {
        assert!(matches!(gate.admit(now), Admit::Now | Admit::Probe));
        let pass = gate.begin(now);
        gate.end(pass, now, ended, TOOK, u64::MAX);
    }
}

/// A gate whose breaker opened at 0; it may probe a second later.
fn opened(most: u32) -> Gate {
    let mut gate = gate(most);
    attempts(&mut gate, at(0), (0..10).map(failed));
    let State::Open { until } = gate.breaker(at(0)) else {
        panic!("{:?}", gate.breaker(at(0)));
    };
    assert!(at(999) < until && until <= at(1000), "{until:?}");
    gate
}

#[test]
fn no_more_are_in_flight_than_the_bound() {
    let mut gate = gate(2);
    let one = gate.begin(at(0));
    assert_eq!(gate.admit(at(0)), Admit::Now);
    let _two = gate.begin(at(0));
    assert_eq!(gate.admit(at(0)), Admit::Full);
    gate.end(one, at(5), Ended::Answered, TOOK, 0);
    assert_eq!(gate.admit(at(5)), Admit::Now);
}

#[test]
fn it_opens_after_ten_failures_in_a_row_of_five_messages() {
    let mut few = gate(1);
    attempts(&mut few, at(0), (0..100).map(|n| failed(n % 4)));
    assert_eq!(few.breaker(at(0)), State::Closed);
    attempts(&mut few, at(0), [failed(4)]);
    assert_ne!(few.breaker(at(0)), State::Closed);

    let mut broken = gate(1);
    for _ in 0..20 {
        attempts(&mut broken, at(0), (0..9).map(failed));
        attempts(&mut broken, at(0), [Ended::Answered]);
    }
    assert_eq!(broken.breaker(at(0)), State::Closed);
}

#[test]
fn while_open_it_probes_after_one_two_four_seconds_up_to_sixty() {
    let mut gate = opened(4);
    let mut now = at(1000);
    let mut waits = Vec::new();
    for message in 0..9 {
        assert_eq!(gate.admit(now), Admit::Probe);
        let pass = gate.begin(now);
        assert_eq!(gate.admit(now), Admit::Full, "one probe at a time");
        gate.end(pass, now, failed(message), TOOK, u64::MAX);
        let Admit::At(next) = gate.admit(now) else {
            panic!("{:?}", gate.admit(now));
        };
        waits.push((next - now).as_millis().div_ceil(10) * 10 / 1000);
        now = next;
    }
    assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60, 60, 60]);
}

#[test]
fn it_lets_one_in_after_it_closed_and_twice_as_many_each_second() {
    let mut gate = opened(6);
    let start = at(1000);
    attempts(&mut gate, start, [Ended::Answered]);
    assert_eq!(gate.breaker(start), State::Ramping);
    let pass = gate.begin(start);
    assert_eq!(gate.admit(start), Admit::At(at(2000)));
    assert_eq!(gate.limit(at(1999)), 1);
    assert_eq!(gate.limit(at(2000)), 2);
    assert_eq!(gate.limit(at(3000)), 4);
    // A failure makes the second begin anew.
    gate.end(pass, at(3900), failed(1), TOOK, 0);
    assert_eq!(gate.limit(at(4899)), 4);
    assert_eq!(gate.limit(at(4900)), 6);
    attempts(&mut gate, at(4900), [Ended::Answered]);
    assert_eq!(gate.breaker(at(4900)), State::Closed);
}

#[test]
fn an_answer_that_asks_to_wait_holds_everything_then_ramps_and_is_no_failure() {
    let mut gate = gate(8);
    let wait = Ended::AskedToWait(at(3000));
    attempts(&mut gate, at(0), [failed(1)]);
    let (one, two) = (gate.begin(at(0)), gate.begin(at(0)));
    gate.end(one, at(10), wait, TOOK, 0);
    // An answer that comes later does not end the wait, and a shorter one does not shorten it.
    gate.end(two, at(20), Ended::AskedToWait(at(1)), TOOK, 0);
    assert_eq!(gate.admit(at(500)), Admit::At(at(3010)));
    assert_eq!(gate.held_until(at(500)), Some(at(3010)));
    assert_eq!(gate.limit(at(3010)), 1);
    assert_eq!(gate.admit(at(3010)), Admit::Now);
    assert_eq!(gate.breaker(at(500)), State::Ramping);
}

#[test]
fn auto_bears_a_subscriber_of_two_speeds() {
    let mut gate = Gate::new(MaxInFlight::Auto, None);
    let mut now = at(0);
    for number in 0..20_000u64 {
        let mut round = Vec::new();
        while gate.admit(now) == Admit::Now {
            round.push(gate.begin(now));
        }
        now += at(1);
        // Of what is in flight half is answered in 1 ms, half in 20.
        for pass in round {
            let took = if number % 2 == 0 { at(1) } else { at(20) };
            gate.end(pass, now, Ended::Answered, took, 0);
        }
    }
    assert!(gate.limit(now) >= 8, "{}", gate.limit(now));
}

#[test]
fn only_the_probe_says_whether_the_subscriber_is_still_down() {
    let mut gate = gate(50);
    let old: Vec<_> = (0..30).map(|_| gate.begin(at(0))).collect();
    let mut old = old.into_iter();
    for message in 0..10 {
        gate.end(old.next().unwrap(), at(0), failed(message), TOOK, u64::MAX);
    }
    let probe = gate.begin(at(1000));
    // What began before it opened goes on failing, and opens it no further.
    for message in 0..10 {
        gate.end(old.next().unwrap(), at(1010), failed(message), TOOK, 0);
        assert_eq!(gate.admit(at(1010)), Admit::Full);
    }
    gate.end(old.next().unwrap(), at(1020), Ended::Dropped, TOOK, 0);
    assert_eq!(gate.admit(at(1020)), Admit::Full);
    gate.end(probe, at(1030), failed(1), TOOK, u64::MAX);
    assert!(matches!(gate.breaker(at(1030)), State::Open { until } if until > at(3020)));
    // An old one that is answered says that somebody is there.
    gate.end(old.next().unwrap(), at(1040), Ended::Answered, TOOK, 0);
    assert_eq!(gate.breaker(at(1040)), State::Ramping);
}

#[test]
fn a_probe_that_comes_to_nothing_is_followed_by_another() {
    let mut gate = opened(1);
    let pass = gate.begin(at(1000));
    gate.end(pass, at(1001), Ended::Dropped, TOOK, 0);
    assert_eq!(gate.admit(at(1001)), Admit::Probe);
    let pass = gate.begin(at(1001));
    gate.end(pass, at(1002), Ended::AskedToWait(at(500)), TOOK, 0);
    assert_eq!(gate.admit(at(1002)), Admit::At(at(1502)));
    assert_eq!(gate.admit(at(1502)), Admit::Probe);
}

#[test]
fn a_rate_that_is_no_rate_holds_back_and_neither_panics_nor_lets_everything_through() {
    for per_second in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY, 1e-300] {
        let mut gate = Gate::new(
            MaxInFlight::Number(100),
            Some(Rate {
                per_second,
                burst: 1,
            }),
        );
        let _pass = gate.begin(Duration::ZERO);
        let day = Duration::from_hours(24);
        assert!(matches!(gate.admit(day), Admit::At(_)), "{per_second}");
    }
    let mut gate = Gate::new(
        MaxInFlight::Number(100),
        Some(Rate {
            per_second: f64::INFINITY,
            burst: u32::MAX,
        }),
    );
    let _pass = gate.begin(Duration::MAX);
    assert_eq!(gate.admit(Duration::MAX), Admit::Now);
}

#[test]
fn a_rate_lets_a_burst_through_and_then_one_at_a_time() {
    let rate = Rate {
        per_second: 2.0,
        burst: 3,
    };
    let mut gate = Gate::new(MaxInFlight::Number(100), Some(rate));
    let mut begun = Vec::new();
    for now in (0..4000).map(at) {
        while gate.admit(now) == Admit::Now {
            let _in_flight = gate.begin(now);
            begun.push(now.as_millis());
        }
    }
    assert_eq!(begun, [0, 0, 0, 500, 1000, 1500, 2000, 2500, 3000, 3500]);
}

#[test]
fn auto_finds_what_a_subscriber_bears() {
    // Twenty at once take 10 ms each; more queue up.
    let mut gate = Gate::new(MaxInFlight::Auto, None);
    let mut now = at(0);
    for _ in 0..3000 {
        let mut round = Vec::new();
        while gate.admit(now) == Admit::Now {
            round.push(gate.begin(now));
        }
        let many = u32::try_from(round.len()).unwrap();
        let took = TOOK * many.div_ceil(20).max(1);
        now += took;
        for pass in round {
            gate.end(pass, now, Ended::Answered, took, 0);
        }
    }
    let found = gate.limit(now);
    assert!((15..=90).contains(&found), "{found}");
    // It refuses: one round of refusals halves it, not each of them.
    let before = gate.limit(now);
    let round: Vec<_> = (0..before).map(|_| gate.begin(now)).collect();
    for (message, pass) in (0..).zip(round) {
        let refused = Ended::Failed {
            message: message % 3,
            overloaded: true,
        };
        gate.end(pass, now, refused, TOOK, 0);
    }
    assert_eq!(gate.limit(now), before / 2);
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    End(Ended),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Begin),
        Just(Step::End(Ended::Answered)),
        Just(Step::End(Ended::Dropped)),
        (0..20u64, any::<bool>()).prop_map(|(message, overloaded)| Step::End(Ended::Failed {
            message,
            overloaded
        })),
        (0..100_000u64).prop_map(|ms| Step::End(Ended::AskedToWait(at(ms)))),
        (0..5_000u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_it_lets_attempts_through_again(
        steps in prop::collection::vec(step(), 0..200),
        most in prop_oneof![(1..100u32).prop_map(MaxInFlight::Number), Just(MaxInFlight::Auto)],
        per_second in 0.001..1e6f64,
        burst in 1..1_000_000u32,
        random in any::<u64>(),
    ) {
        let mut gate = Gate::new(most, Some(Rate { per_second, burst }));
        let mut now = Duration::ZERO;
        let mut passes = Vec::new();
        for step in steps {
            match step {
                Step::Begin => match gate.admit(now) {
                    Admit::Now | Admit::Probe => {
                        passes.push(gate.begin(now));
                        prop_assert!(gate.in_flight() <= gate.limit(now).max(1));
                    }
                    Admit::At(at) => prop_assert!(at > now),
                    Admit::Full => prop_assert!(gate.in_flight() > 0),
                },
                Step::End(ended) => {
                    if let Some(pass) = passes.pop() {
                        gate.end(pass, now, ended, TOOK, random);
                    }
                }
                Step::Pass(millis) => now += at(millis),
            }
        }
        for pass in passes {
            gate.end(pass, now, Ended::Dropped, TOOK, random);
        }
        prop_assert_eq!(gate.in_flight(), 0);
        // Each moment that it names brings it further, and there are few of them.
        for _ in 0..10 {
            match gate.admit(now) {
                Admit::At(next) => {
                    prop_assert!(next > now);
                    now = next;
                }
                Admit::Now | Admit::Probe => return Ok(()),
                Admit::Full => prop_assert!(false, "full with none in flight: {gate:?}"),
            }
        }
        prop_assert!(false, "it is still shut: {gate:?}");
    }
}
