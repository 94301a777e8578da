//! `busway docs`: the generated pages.

use std::io::Write as _;

use super::{command::Page, memory};
use crate::buses::memory::Stats;

/// Prints a page.
pub(crate) fn print(page: Page) -> anyhow::Result<()> {
    let text = match page {
        Page::Reasons => busway_api::reason::reasons_markdown(),
        Page::Metrics => format!(
            "{}\n\n## The process\n\n{}",
            busway_dataplane::metrics::markdown().trim_end(),
            busway_buskit::metrics::markdown(&memory::counters(&Stats::default()))
        ),
        Page::Fields => busway_api::fields::fields_markdown(),
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
