//! The recipe of a release, as far as it can be tried without one.

use std::{fs, process::Command};

use serde_json::Value;

use crate::helm::{documents, helm, parse, read, root};

const RECIPE: &str = ".github/workflows/release.yaml";

/// What the steps of all jobs run.
fn steps() -> Vec<Value> {
    let recipe = &documents(&read(RECIPE))[0];
    let jobs = recipe["jobs"].as_object().unwrap();
    let steps = jobs.values().flat_map(|job| job["steps"].as_array());
    steps.flatten().cloned().collect()
}

fn run(name: &str) -> String {
    let step = steps().into_iter().find(|step| step["name"] == name);
    step.unwrap()["run"].as_str().unwrap().to_owned()
}

#[test]
fn a_release_checks_advisories_lints_lists_what_is_in_it_and_signs() {
    let all: String = steps().iter().map(|step| format!("{step}\n")).collect();
    for part in [
        ".ci/run",
        "check advisories",
        "kube-linter-action@",
        "cargo cyclonedx",
        "cosign sign --yes --recursive",
        "cosign attest --yes --type cyclonedx",
        "helm push",
    ] {
        assert!(all.contains(part), "no {part}");
    }
    // Where images go is the repository's setting.
    let text = read(RECIPE);
    assert!(text.contains("REGISTRY: ${{ vars.REGISTRY }}"), "{text}");
    for file in [
        ".ci/run",
        "hack/tools.sh",
        ".kube-linter.yaml",
        "deploy/busway.yaml",
    ] {
        assert!(text.contains(file) && root().join(file).exists(), "{file}");
    }
}

#[test]
fn a_tag_that_is_not_the_version_makes_no_release() {
    let version = env!("CARGO_PKG_VERSION");
    for (tag, is_taken) in [(format!("v{version}"), true), ("v9.9.9".to_owned(), false)] {
        let said = tempfile::NamedTempFile::new().unwrap();
        let done = Command::new("bash")
            .args(["-e", "-o", "pipefail", "-c"])
            .arg(run("The tag is the version of the binary and the chart"))
            .env("GITHUB_REF_NAME", &tag)
            .env("GITHUB_OUTPUT", said.path())
            .current_dir(root())
            .status()
            .unwrap();
        assert_eq!(done.success(), is_taken, "{tag}");
        let said = fs::read_to_string(said.path()).unwrap();
        assert_eq!(said.trim() == format!("version={version}"), is_taken);
    }
}

#[test]
fn a_released_chart_names_exactly_the_image_that_was_built() {
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args(["-r", "charts"])
        .arg(copy.path())
        .current_dir(root())
        .status()
        .unwrap();
    assert!(copied.success());
    let step = run("The chart, with exactly this image in it");
    let sed = step.lines().find(|line| line.starts_with("sed ")).unwrap();
    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let done = Command::new("bash")
        .args(["-c", sed])
        .env("REGISTRY", "registry.example:5000/team")
        .env("DIGEST", &digest)
        .current_dir(copy.path())
        .status()
        .unwrap();
    assert!(done.success());
    let chart = copy.path().join("charts/busway");
    let chart = chart.to_string_lossy();
    let out = helm(&["template", "busway", &chart, "--kube-version", "1.33.0"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    let image = format!("registry.example:5000/team/busway@{digest}");
    let manifests = parse(&String::from_utf8(out.stdout).unwrap());
    let of = |kind: &str| manifests.iter().find(|one| one["kind"] == kind).unwrap();
    let operator = &of("Deployment")["spec"]["template"]["spec"];
    for pod in [operator, &of("Pod")["spec"]] {
        assert_eq!(pod["containers"][0]["image"], image.as_str());
    }
}
