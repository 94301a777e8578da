//! Tables in Markdown, and the page that keeps them.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};

/// A table with a heading over it and how it was taken below it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) columns: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Paragraphs that say how it was taken.
    pub(crate) taken: Vec<String>,
}

impl Table {
    pub(crate) fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// As Markdown.
    pub(crate) fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let head: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        let mut text = line(&head);
        text.push_str(&line(&vec!["---".to_owned(); head.len()]));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        for paragraph in &self.taken {
            text.push_str(&format!("\n{paragraph}\n"));
        }
        text
    }

    /// Writes it to a page, in place of what stands between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.
    ///
    /// # Errors
    /// When the page cannot be read or written, or has no such marks.
    pub(crate) fn write(&self, page: &Path, name: &str) -> Result<()> {
        let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
        let new = replace(&text, name, &self.markdown())
            .with_context(|| format!("{} has no marks for {name}", page.display()))?;
        fs::write(page, new).with_context(|| page.display().to_string())
    }
}

fn replace(text: &str, name: &str, by: &str) -> Option<String> {
    let begin = format!("<!-- {name}:begin -->\n");
    let end = format!("<!-- {name}:end -->");
    let from = text.find(&begin)? + begin.len();
    let to = from + text[from..].find(&end)?;
    Some(format!("{}{by}{}", &text[..from], &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_what_stands_between_its_marks() {
        let mut table = Table {
            columns: vec!["measure", "figure"],
            taken: vec!["Taken so.".to_owned()],
            ..Table::default()
        };
        table.row(["speed", "12"]);
        let page = "a\n<!-- data:begin -->\nold\n<!-- data:end -->\nz\n";
        let expected = "a\n<!-- data:begin -->\n| measure | figure |\n| --- | --- |\n| speed | 12 |\n\
                        \nTaken so.\n<!-- data:end -->\nz\n";
        let once = replace(page, "data", &table.markdown());
        assert_eq!(once.as_deref(), Some(expected));
        let twice = once.and_then(|page| replace(&page, "data", &table.markdown()));
        assert_eq!(twice.as_deref(), Some(expected));
        assert_eq!(replace(page, "control", "x"), None);
    }

    #[test]
    fn the_page_in_the_repository_has_all_marks() {
        let page = include_str!("../../docs/benchmarks.md");
        for name in ["data", "isolation", "control"] {
            assert!(replace(page, name, "x").is_some(), "{name}");
        }
    }
}
