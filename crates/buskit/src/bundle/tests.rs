#![allow(clippy::unwrap_used, reason = "tests")]

use std::{os::unix::fs::symlink, path::PathBuf};

use tempfile::TempDir;

use super::*;

/// Two authorities of nobody, valid for ever as far as a bundle cares.
fn pem() -> String {
    rcgen::generate_simple_self_signed(["a.example".to_owned()])
        .unwrap()
        .cert
        .pem()
}

/// A volume of a ConfigMap, as the kubelet mounts it: keys are links into a folder that a link points
/// at, and that one link is changed.
struct Volume(TempDir, u32);

impl Volume {
    fn new() -> Self {
        Self(TempDir::new().unwrap(), 0)
    }

    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    fn set(&mut self, keys: &[(&str, &str)]) {
        self.1 += 1;
        let (root, dir) = (self.path(), format!("..2026_{}", self.1));
        fs::create_dir(root.join(&dir)).unwrap();
        for (key, text) in keys {
            fs::write(root.join(&dir).join(key), text).unwrap();
        }
        symlink(&dir, root.join("..data_tmp")).unwrap();
        fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        for entry in fs::read_dir(&root).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if !name.starts_with('.') && !keys.iter().any(|(key, _)| *key == name) {
                fs::remove_file(path).unwrap();
            }
        }
        for (key, _) in keys {
            let _there = symlink(PathBuf::from("..data").join(key), root.join(key));
        }
    }
}

#[test]
fn a_mounted_bundle_is_read_anew_and_a_broken_one_takes_nothing_away() {
    let (one, two) = (pem(), pem());
    let mut volume = Volume::new();
    let mut bundle = Bundle::default();
    let mut look = |volume: &Volume| {
        bundle = read(&bundle, mounted(&volume.path()));
        (bundle.authorities.len(), bundle.problem.clone())
    };
    let (none, why) = look(&volume);
    assert_eq!(none, 0);
    assert!(why.unwrap().contains("does not exist"));
    volume.set(&[("ca.crt", &one)]);
    assert_eq!(look(&volume), (1, None));
    volume.set(&[("ca.crt", &one), ("team.pem", &two)]);
    assert_eq!(look(&volume), (2, None));
    volume.set(&[("ca.crt", &one), ("team.pem", "gone wrong")]);
    let (still, why) = look(&volume);
    assert_eq!(still, 2);
    assert!(why.unwrap().starts_with("key team.pem: "));
    volume.set(&[]);
    assert_eq!(look(&volume).0, 2);
    volume.set(&[("team.pem", &two)]);
    assert_eq!(look(&volume), (1, None), "what is whole is all there is");
}

#[test]
fn a_bundle_that_did_not_change_is_the_same_to_what_is_made_of_it() {
    let mut volume = Volume::new();
    volume.set(&[("ca.crt", &pem())]);
    let first = read(&Bundle::default(), mounted(&volume.path()));
    let again = read(&first, mounted(&volume.path()));
    assert!(Arc::ptr_eq(&first.authorities, &again.authorities));
}

#[test]
fn a_folder_that_is_missing_or_too_large_is_a_problem_and_no_more() {
    let mut volume = Volume::new();
    let missing = read(&Bundle::default(), mounted(&volume.path().join("none")));
    assert!(missing.problem.unwrap().starts_with("it cannot be read"));
    let size = usize::try_from(MAX_BYTES).unwrap();
    volume.set(&[("large", &"x".repeat(size))]);
    let large = read(&Bundle::default(), mounted(&volume.path()));
    assert!(large.problem.unwrap().contains("larger"));
}
