//! `busway docs`: the generated pages.

use std::{fmt::Write as _, io::Write as _};

use super::{command::Page, memory};
use crate::{buses::memory::Stats, operator::METRICS};

/// Prints a page.
pub(crate) fn print(page: Page) -> anyhow::Result<()> {
    let text = match page {
        Page::Reasons => busway_api::reason::reasons_markdown(),
        Page::Metrics => format!(
            "{}\n\n## The process\n\n{}\n## The operator\n\n{}",
            busway_dataplane::metrics::markdown().trim_end(),
            busway_buskit::metrics::markdown(&memory::counters(&Stats::default())),
            operators()
        ),
        Page::Fields => busway_api::fields::fields_markdown(),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// What the operator exposes at `/metrics`, as a table.
fn operators() -> String {
    let mut text = String::from("| metric | type | meaning |\n|---|---|---|\n");
    for (name, kind, means) in METRICS {
        let suffix = if *kind == "counter" { "_total" } else { "" };
        let _ = writeln!(text, "| `{name}{suffix}` | {kind} | {means} |");
    }
    text
}
