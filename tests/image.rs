//! `make image` writes what the Dockerfile says. The tar is written with a stand-in for the binary; what is built into it is
//! one script's in both.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

/// What the last stage of the Dockerfile says, read here apart from the script that is tested.
#[derive(Debug, Default, PartialEq)]
struct Stage {
    user: String,
    entrypoint: Vec<String>,
    labels: BTreeMap<String, String>,
    files: Vec<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn dockerfile() -> Stage {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let last = text.rsplit_once("\nFROM scratch\n").unwrap().1;
    let mut stage = Stage::default();
    for line in last.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "USER" => rest.clone_into(&mut stage.user),
            "ENTRYPOINT" => stage.entrypoint = serde_json::from_str(rest).unwrap(),
            "LABEL" => {
                let (name, value) = rest.split_once('=').unwrap();
                let value = value.trim_matches('"');
                stage.labels.insert(name.to_owned(), value.to_owned());
            }
            "COPY" => stage
                .files
                .push(rest.rsplit_once(' ').unwrap().1.to_owned()),
            _ => {}
        }
    }
    stage
}

/// Runs `hack/image.sh` with a stand-in for the binary.
fn write_image(folder: &Path, name: &str) -> Output {
    let binary = folder.join("stand-in");
    fs::write(&binary, "not a program").unwrap();
    Command::new(root().join("hack/image.sh"))
        .env("BINARY", &binary)
        .env("OUT", folder.join(name))
        .env("IMAGE", "busway:test")
        .env("SOURCE_DATE_EPOCH", "1700000000")
        .output()
        .unwrap()
}

fn unpack(tar: &Path, into: &Path) -> String {
    fs::create_dir_all(into).unwrap();
    let out = Command::new("tar")
        .args([
            "--extract",
            "--verbose",
            "--verbose",
            "--numeric-owner",
            "--file",
        ])
        .arg(tar)
        .arg("--directory")
        .arg(into)
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout).unwrap()
}

/// A blob that a descriptor names, after its digest and size were checked.
fn blob(layout: &Path, descriptor: &Value) -> std::path::PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    let hash = digest.strip_prefix("sha256:").unwrap();
    let path = layout.join("blobs/sha256").join(hash);
    assert_eq!(
        fs::metadata(&path).unwrap().len(),
        descriptor["size"].as_u64().unwrap()
    );
    assert_eq!(sha256(&fs::read(&path).unwrap()), hash);
    path
}

fn sha256(bytes: &[u8]) -> String {
    use std::{io::Write as _, process::Stdio};
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    out.split_whitespace().next().unwrap().to_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_image_has_the_dockerfiles_user_entrypoint_labels_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = write_image(folder.path(), "image.tar");
    assert!(out.status.success(), "{out:?}");
    let layout = folder.path().join("layout");
    unpack(&folder.path().join("image.tar"), &layout);
    let index = json(&layout.join("index.json"));
    let manifest = json(&blob(&layout, &index["manifests"][0]));
    let image = json(&blob(&layout, &manifest["config"]));
    let layer = blob(&layout, &manifest["layers"][0]);
    let listed = unpack(&layer, &folder.path().join("files"));

    let config = &image["config"];
    let expected = dockerfile();
    assert_eq!(config["User"], expected.user);
    assert_eq!(config["Entrypoint"], serde_json::json!(expected.entrypoint));
    let files: Vec<_> = listed
        .lines()
        .map(|line| format!("/{}", line.rsplit_once(' ').unwrap().1))
        .collect();
    assert_eq!(files, expected.files);
    assert!(listed.starts_with("-rwxr-xr-x 0/0 "), "{listed}");

    let labels: BTreeMap<String, String> =
        serde_json::from_value(config["Labels"].clone()).unwrap();
    assert_eq!(
        labels.keys().collect::<Vec<_>>(),
        expected.labels.keys().collect::<Vec<_>>()
    );
    for (name, value) in &expected.labels {
        match value.as_str() {
            "$VERSION" => assert_eq!(labels[name], env!("CARGO_PKG_VERSION")),
            "$REVISION" => assert!(!labels[name].is_empty() && !labels[name].contains('$')),
            _ => assert_eq!(labels[name], *value),
        }
    }
    assert_eq!(image["os"], "linux");
    assert_eq!(image["created"], "2023-11-14T22:13:20Z");
}

#[test]
fn the_image_runs_as_nobody_in_particular_and_has_one_file() {
    let stage = dockerfile();
    let (user, group) = stage.user.split_once(':').unwrap();
    // A number, so that a kubelet can see that it is not root.
    assert!(user.parse::<u32>().unwrap() >= 10_000, "{user}");
    assert!(group.parse::<u32>().unwrap() >= 10_000, "{group}");
    assert_eq!(stage.files, ["/busway"]);
    assert_eq!(stage.entrypoint, stage.files);
    let version = format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"));
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    assert!(
        text.contains(&version),
        "the Dockerfile's VERSION is not Cargo's"
    );
}

#[test]
fn the_same_input_gives_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one.tar", "two.tar"] {
        let out = write_image(folder.path(), name);
        assert!(out.status.success(), "{out:?}");
    }
    let read = |name: &str| fs::read(folder.path().join(name)).unwrap();
    assert!(read("one.tar") == read("two.tar"));
}

#[test]
fn an_instruction_that_the_script_does_not_know_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("checkout");
    fs::create_dir_all(copy.join("hack")).unwrap();
    for name in ["hack/image.sh", "hack/oci.sh", "Cargo.toml"] {
        fs::copy(root().join(name), copy.join(name)).unwrap();
    }
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    fs::write(copy.join("Dockerfile"), format!("{text}WORKDIR /tmp\n")).unwrap();
    // Not run as a file: another test's child may still hold it open for writing.
    let out = Command::new("bash")
        .arg(copy.join("hack/image.sh"))
        .env("BINARY", root().join("Cargo.toml"))
        .env("OUT", folder.path().join("image.tar"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        !out.status.success() && said.contains("does not know WORKDIR"),
        "{said}"
    );
    assert!(!folder.path().join("image.tar").exists());
}
