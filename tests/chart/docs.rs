//! The admin's pages: every reason that asks for something is in the troubleshooting page, and links lead somewhere.

use std::fs;

use crate::helm::{read, root};

/// The pages that are about a cluster.
const PAGES: &[&str] = &[
    "docs/install.md",
    "docs/upgrade.md",
    "docs/uninstall.md",
    "docs/security.md",
    "docs/troubleshooting.md",
    "docs/chart-values.md",
    "README.md",
];

#[test]
fn troubleshooting_has_every_reason_that_asks_for_something() {
    let page = read("docs/troubleshooting.md");
    let reasons = read("docs/reasons.md");
    let rows: Vec<_> = reasons
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert!(rows.len() > 30);
    let missing: Vec<_> = rows
        .iter()
        .filter(|row| !row.trim_end().ends_with("| – |"))
        .map(|row| row.split('`').nth(1).unwrap())
        // It asks for another bus where its promise is not enough; nothing is wrong.
        .filter(|reason| *reason != "InMemory" && !page.contains(&format!("`{reason}`")))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn links_lead_to_files_and_headings_that_are_there() {
    let mut pages: Vec<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    for runbook in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let name = runbook.unwrap().file_name().into_string().unwrap();
        pages.push(format!("docs/runbooks/{name}"));
    }
    let mut links = 0;
    for page in &pages {
        let folder = root().join(page).parent().unwrap().to_owned();
        for rest in read(page).split("](").skip(1) {
            let link = rest.split(')').next().unwrap();
            if link.starts_with("http") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() {
                root().join(page)
            } else {
                folder.join(file)
            };
            assert!(target.exists(), "{page}: {link}");
            if !heading.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let there = text
                    .lines()
                    .any(|line| anchor(line) == Some(heading.to_owned()));
                assert!(there, "{page}: {link}: no such heading");
            }
            links += 1;
        }
    }
    assert!(links > 20, "{links}");
}

/// What a heading is linked by.
fn anchor(line: &str) -> Option<String> {
    let heading = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
    let text: String = kept.collect();
    Some(text.to_lowercase().replace(' ', "-"))
}

#[test]
fn settings_that_the_pages_name_are_settings() {
    let known: Vec<_> = crate::values::settings()
        .into_iter()
        .map(|setting| setting.path)
        .collect();
    let first: Vec<_> = known
        .iter()
        .map(|path| path.split('.').next().unwrap().to_owned())
        .collect();
    for page in PAGES {
        for (at, word) in read(page).split('`').enumerate() {
            let path = word.split([':', '=', ' ']).next().unwrap();
            let Some((top, _)) = path.split_once('.') else {
                continue;
            };
            // The default domain looks like one.
            let inside =
                at % 2 == 1 && path != "cluster.local" && first.iter().any(|first| first == top);
            if inside && path.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') {
                let is_known = known.iter().any(|one| {
                    one == path
                        || one.starts_with(&format!("{path}."))
                        || path.starts_with(&format!("{one}."))
                });
                assert!(is_known, "{page}: `{word}`");
            }
        }
    }
}
