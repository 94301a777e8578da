//! The admin's pages: every reason that asks for something is in the troubleshooting page, and links lead somewhere.

use std::{fs, process::Command};

use crate::helm::{documents, read, root};

/// The pages that are about a cluster.
const PAGES: &[&str] = &[
    "docs/install.md",
    "docs/upgrade.md",
    "docs/uninstall.md",
    "docs/security.md",
    "docs/troubleshooting.md",
    "docs/watching.md",
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

/// Commands of a page that begin so.
fn commands(page: &str, begins: &str) -> Vec<String> {
    let text = read(page);
    let lines = text.lines().map(str::trim);
    let found: Vec<_> = lines
        .filter(|line| line.starts_with(begins))
        .map(str::to_owned)
        .collect();
    assert!(!found.is_empty(), "{page}: no {begins}");
    found
}

#[test]
fn the_line_that_names_a_registry_reaches_every_image() {
    let copy = tempfile::tempdir().unwrap();
    let files = ["deploy/busway.yaml", "examples/kubernetes/subscribers.yaml"];
    for file in files {
        let to = copy.path().join(file);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, read(file)).unwrap();
    }
    let [line] = &commands("docs/install.md", "sed ")[..] else {
        panic!("which of them?");
    };
    let done = Command::new("bash")
        .args(["-c", line])
        .current_dir(copy.path())
        .status()
        .unwrap();
    assert!(done.success());
    let image = concat!(
        "registry.example.com/team/busway:",
        env!("CARGO_PKG_VERSION")
    );
    for file in files {
        let text = fs::read_to_string(copy.path().join(file)).unwrap();
        let deployments = documents(&text);
        let deployments = deployments.iter().filter(|one| one["kind"] == "Deployment");
        let mut containers = 0;
        for deployment in deployments {
            let container = &deployment["spec"]["template"]["spec"]["containers"][0];
            assert_eq!(container["image"], image, "{file}");
            for var in container["env"].as_array().into_iter().flatten() {
                assert!(var["name"] != "BUSWAY_IMAGE" || var["value"] == image);
            }
            containers += 1;
        }
        assert!(containers > 0, "{file}");
    }
    // Whatever else is applied has no image.
    for entry in fs::read_dir(root().join("examples/kubernetes")).unwrap() {
        let path = entry.unwrap().path();
        let is_known = path.ends_with("subscribers.yaml") || path.ends_with("README.md");
        let text = fs::read_to_string(&path).unwrap();
        assert!(is_known || !text.contains("image:"), "{}", path.display());
    }
}

#[test]
fn logs_are_read_of_all_operators_and_for_words_that_they_have() {
    let mut pages: Vec<_> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    for runbook in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let name = runbook.unwrap().file_name().into_string().unwrap();
        pages.push(format!("docs/runbooks/{name}"));
    }
    for page in pages {
        // Of several pods this takes one, and not the one that works.
        let takes_one = read(&page).contains("logs deployment/busway-operator");
        assert!(!takes_one, "{page}");
    }
    let line = &commands("docs/runbooks/BuswayOrphaned.md", "kubectl --namespace")[0];
    let words = line.split_once("grep \"").unwrap().1.trim_end_matches('"');
    assert!(
        read("src/operator/channel/apply.rs").contains(words),
        "{words}"
    );
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
