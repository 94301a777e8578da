//! The rows of the data plane's table: figures of both systems, their ratio, and the aim of the project's design.

use super::{DataArgs, FAN_OUT, Results, Rounds};
use crate::{
    check::{LATE_MAX, LATE_P99},
    run::Sample,
    stats::Spread,
    table::Table,
};

/// What the ratio Busway ÷ bare loop should be.
#[derive(Debug, Clone, Copy)]
enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

pub(super) fn table(args: &DataArgs, results: &Results) -> Table {
    let columns = vec![
        "measure",
        "bare loop",
        "Busway",
        "Busway ÷ bare loop",
        "aim",
        "met",
    ];
    let mut table = Table {
        columns,
        ..Table::default()
    };
    let cpu = |sample: &Sample| sample.cpu;
    let rate = |sample: &Sample| sample.rate;
    let p50 = |sample: &Sample| f64::from(sample.latency.p50) / 1000.0;
    let p99 = |sample: &Sample| f64::from(sample.latency.p99) / 1000.0;
    let (half, at_half) = &results.half;

    let as_little = Some(Aim::AtMost(1.0));
    for (rate, rounds) in &results.fixed {
        let name = format!("CPU per delivery at {rate} messages/s, µs");
        table.row(compare(name, rounds, cpu, 1, as_little));
    }
    let name = format!("CPU per delivery at half load ({half} messages/s), µs");
    table.row(compare(name, at_half, cpu, 1, None));
    let saturated = &results.saturated;
    table.row(compare(
        "CPU per delivery, saturated, µs",
        saturated,
        cpu,
        1,
        as_little,
    ));
    let name = "messages/s accepted and delivered, saturated";
    table.row(compare(name, saturated, rate, 0, Some(Aim::AtLeast(1.2))));
    let accepting = &results.accepting;
    let name = "messages/s accepted without subscriptions";
    table.row(compare(name, accepting, rate, 0, Some(Aim::AtLeast(0.8))));
    let name = "CPU per message accepted without subscriptions, µs";
    table.row(compare(name, accepting, cpu, 1, None));

    let as_fast = Some(Aim::AtMost(1.2));
    for (rate, rounds) in &results.fixed {
        for (quantile, of) in [("p50", p50 as fn(&Sample) -> f64), ("p99", p99)] {
            let name = format!("end to end {quantile} at {rate} messages/s, ms");
            table.row(compare(name, rounds, of, 2, None));
        }
    }
    for (quantile, of) in [("p50", p50 as fn(&Sample) -> f64), ("p99", p99)] {
        let name = format!("end to end {quantile} at half load ({half} messages/s), ms");
        table.row(compare(name, at_half, of, 2, as_fast));
    }
    table.row(memory("RSS empty, MB", results.memory.empty, Some(15.0)));
    table.row(memory(
        "peak RSS under all of this, MB",
        results.memory.peak,
        None,
    ));
    table.taken.push(how(args));
    table
}

fn compare(
    name: impl Into<String>,
    rounds: &Rounds,
    of: impl Fn(&Sample) -> f64,
    decimals: usize,
    aim: Option<Aim>,
) -> Vec<String> {
    let values = |samples: &[Sample]| samples.iter().map(&of).collect::<Vec<_>>();
    let (bare, busway) = (values(&rounds.bare), values(&rounds.busway));
    // A round's two runs follow one another: their ratio is free of what changed between rounds.
    let ratio = Spread::of(busway.iter().zip(&bare).map(|(busway, bare)| busway / bare));
    let text = |spread: Option<Spread>, decimals: usize| {
        spread.map_or_else(|| "–".to_owned(), |spread| format!("{spread:.decimals$}"))
    };
    let met = aim.zip(ratio).map(|(aim, ratio)| aim.met(ratio.median));
    vec![
        name.into(),
        text(Spread::of(bare), decimals),
        text(Spread::of(busway), decimals),
        text(ratio, 2),
        aim.map(Aim::text).unwrap_or_default(),
        yes_or_no(met),
    ]
}

fn memory(name: &str, (bare, busway): (f64, Option<f64>), aim: Option<f64>) -> Vec<String> {
    let megabytes = |value: f64| format!("{value:.1}");
    let met = busway.zip(aim).map(|(is, most)| is <= most);
    vec![
        name.to_owned(),
        megabytes(bare),
        busway.map_or_else(|| "–".to_owned(), megabytes),
        busway.map_or_else(|| "–".to_owned(), |busway| format!("{:.2}", busway / bare)),
        aim.map(|most| format!("≤ {most} MB")).unwrap_or_default(),
        yes_or_no(met),
    ]
}

impl Aim {
    fn met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most:.1}"),
            Self::AtLeast(least) => format!("≥ {least:.1}"),
        }
    }
}

fn yes_or_no(met: Option<bool>) -> String {
    let text = met.map(|met| if met { "yes" } else { "no" });
    text.unwrap_or_default().to_owned()
}

fn how(args: &DataArgs) -> String {
    format!(
        "Median of {} rounds of {} s (smallest–largest), in turns; fan-out {FAN_OUT}; both systems on {} thread(s); \
         saturated: {} messages on their way. In every run the deliveries were accepted × {FAN_OUT}, each once, and \
         at the fixed rates 99 % of messages were sent within {LATE_P99:?} of their time, none later than \
         {LATE_MAX:?}.",
        args.rounds, args.seconds, args.threads, args.window
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Quantiles;

    fn rates(rates: &[f64]) -> Vec<Sample> {
        let sample = |&rate| Sample {
            cpu: 1.0,
            rate,
            latency: Quantiles::default(),
        };
        rates.iter().map(sample).collect()
    }

    #[test]
    fn a_ratio_is_taken_round_by_round_and_held_against_the_aim() {
        let rounds = Rounds {
            bare: rates(&[100.0, 200.0, 100.0]),
            busway: rates(&[120.0, 240.0, 110.0]),
        };
        let row = |aim| compare("rate", &rounds, |sample| sample.rate, 0, Some(aim));
        assert_eq!(
            row(Aim::AtLeast(1.15)),
            [
                "rate",
                "100 (100–200)",
                "120 (110–240)",
                "1.20 (1.10–1.20)",
                "≥ 1.1",
                "yes"
            ]
        );
        assert_eq!(row(Aim::AtLeast(1.3))[5], "no");
        assert_eq!(row(Aim::AtMost(1.1))[5], "no");
    }

    #[test]
    fn what_was_not_measured_is_a_dash_and_not_met_nor_missed() {
        let rounds = Rounds {
            bare: rates(&[1.0]),
            busway: Vec::new(),
        };
        let row = compare(
            "x",
            &rounds,
            |sample| sample.rate,
            0,
            Some(Aim::AtMost(1.0)),
        );
        assert_eq!(row[2..], ["–", "–", "≤ 1.0", ""]);
        assert_eq!(
            memory("m", (2.0, None), Some(15.0))[2..],
            ["–", "–", "≤ 15 MB", ""]
        );
    }
}
