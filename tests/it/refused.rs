//! Values of options that make no sense are refused with a sentence, before any work.

use std::path::Path;

use crate::surroundings::{program, told};

/// What is told by a command that refuses its arguments.
fn refused(home: &Path, words: &[&str]) -> String {
    refused_with(1, home, words)
}

fn refused_with(code: i32, home: &Path, words: &[&str]) -> String {
    let output = program(home).current_dir(home).args(words).output().unwrap();
    let told = told(&output);
    assert_eq!(output.status.code(), Some(code), "{words:?}: {told}");
    told
}

#[test]
fn numbers_that_no_work_can_be_done_with_are_refused() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("inbox")).unwrap();
    let watch = ["watch", "inbox", "--headless"];
    for flag in
        ["--settle=1e19", "--settle=-1", "--settle=nan", "--idle-exit=-1", "--idle-exit=nan"]
    {
        let told = refused(home.path(), &[&watch[..], &[flag]].concat());
        assert!(told.contains("give 0 to 31536000 seconds"), "{flag}: {told}");
    }
    // With a space between them a number below zero is no option, either.
    let told = refused(home.path(), &[&watch[..], &["--settle", "-1"]].concat());
    assert!(told.contains("give 0 to 31536000 seconds"), "{told}");
    let clicks = ["evaluate", "clicks", "--data", "inbox", "--judge", "curve", "--limit", "0"];
    assert!(refused(home.path(), &clicks).contains("--limit is 0; give 1 or more"));
    for share in ["nan", "2"] {
        let video = ["evaluate", "video", "--data", "inbox", "--correction", share];
        let told = refused(home.path(), &video);
        assert!(told.contains("give a share from 0 to 1"), "{told}");
    }
    for flag in ["--steps=0", "--views=0", "--validate-every=0"] {
        let train = ["train", "--data", "inbox", "--out", "out", flag];
        let told = refused_with(2, home.path(), &train);
        assert!(told.contains("is \"0\"; give a whole number from 1"), "{told}");
        assert!(told.contains(&flag[..7]), "{told}");
    }
    assert!(!home.path().join("out").exists());
}

#[test]
fn training_that_is_refused_leaves_no_empty_folder() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir(home.path().join("inbox")).unwrap();
    let train = ["train", "--data", "inbox", "--out", "new/out", "--steps", "1"];
    let told = refused(home.path(), &[&train[..], &["--device", "cpu"]].concat());
    assert!(told.contains("inbox"), "{told}");
    assert!(!home.path().join("new").exists());
}

#[test]
fn weights_that_cannot_be_read_are_told_with_their_file_and_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let file = "damaged.safetensors";
    for bytes in [&b"\xff\xff\xff\xff\xff\xff\xff\x7f{"[..], b"cut"] {
        std::fs::write(home.path().join(file), bytes).unwrap();
        let told = refused(home.path(), &["models", "import", file]);
        assert!(told.contains(file) && told.contains("or fetch it again"), "{told}");
    }
}

#[test]
fn a_whole_project_is_not_deidentified() {
    let home = tempfile::tempdir().unwrap();
    let project = home.path().join("project");
    std::fs::create_dir_all(project.join("clips")).unwrap();
    std::fs::write(project.join("FORMAT"), "sonomark 1\n").unwrap();
    let export = ["export", "project", "--format", "dicom-seg", "--out", "out", "--deidentify"];
    let told = refused(home.path(), &export);
    assert!(told.contains("project is a project") && told.contains("one by one"), "{told}");
    assert!(!home.path().join("out").exists());
}
