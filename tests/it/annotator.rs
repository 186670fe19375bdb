//! The scripted annotator: it runs, and what the README says of it is what it measured.

use std::path::Path;

use serde_json::Value;

use crate::surroundings::{program, told};

/// A dark disc on a brighter ground, and its truth.
fn disc(folder: &Path, name: &str, x: f32) {
    std::fs::create_dir_all(folder).unwrap();
    let inside = |i: u32, j: u32| (i as f32 - x).hypot(j as f32 - 96.0) < 45.0;
    let ground = |i: u32, j: u32| 140 + ((i * 7 + j * 3) % 9) as u8;
    let gray = |i, j| image::Luma([if inside(i, j) { 40 } else { ground(i, j) }]);
    image::GrayImage::from_fn(200, 200, gray).save(folder.join(format!("{name}.png"))).unwrap();
    let truth = image::GrayImage::from_fn(200, 200, |i, j| image::Luma([u8::from(inside(i, j))]));
    truth.save(folder.join(format!("{name}.mask.png"))).unwrap();
}

#[test]
fn the_real_program_is_driven_on_a_still_and_a_clip_and_every_key_counts() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    disc(&data.join("images/usgra"), "disc", 118.0);
    std::fs::write(data.join("images/usgra/val.txt"), "disc\n").unwrap();
    let clips = data.join("clips_synth");
    (0..5).for_each(|i| disc(&clips.join("drift"), &format!("{i:05}"), 90.0 + 2.0 * i as f32));
    let windows = "drift:\n  objects:\n    1:\n      windows:\n      - [1, 3]\n";
    std::fs::write(clips.join("windows.yaml"), windows).unwrap();
    let out = folder.path().join("out.json");
    let done = program(folder.path())
        .args(["bench", "annotator", "--limit", "1", "--way", "rays", "--data"])
        .args([&data, Path::new("--json"), &out])
        .output()
        .unwrap();
    let told = told(&done);
    assert!(done.status.success(), "{told}");
    assert!(told.contains(" keys and ") && !told.contains("Some("), "{told}");
    let printed = String::from_utf8_lossy(&done.stdout);
    assert!(!printed.contains(['{', '"']), "{printed}");
    let found: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let goal = &found["keys_to_iou_085"];
    assert_eq!(goal, &found["ways"]["rays"]["keys_to_iou_085"]);
    assert_eq!((goal["met"].as_u64(), goal["of"].as_u64()), (Some(1), Some(1)), "{found}");
    for mean in ["median", "mean", "mean_of_met"] {
        // The rays are opened, and a point is put at least.
        assert!(goal[mean].as_f64().unwrap() >= 2.0, "{found}");
    }
    let log = &found["log"][0];
    assert_eq!(
        (&log["way"], &log["keymap"], &log["still"]),
        (&"rays".into(), &"default".into(), &"disc".into())
    );
    assert!(log["keys_085"].as_f64() <= log["keys"].as_f64() && log["bytes"].as_u64().unwrap() > 0);
    let clip = &found["clips_synth"]["log"][0];
    assert_eq!(clip["frames"].as_u64(), Some(3), "{found}");
    // Points, an answer or two about the window, the propagation.
    assert!(clip["keys"].as_f64().unwrap() > 6.0 && clip["iou"].as_f64().unwrap() > 0.3, "{found}");
    let goal = &found["clips_synth"]["ways"]["rays"]["keys_per_frame_to_iou_085"];
    assert!(goal["mean"].as_f64().unwrap() > 1.0, "what was spent counts, met or not: {goal}");
}

/// A median, or what stands for none.
fn median(goal: &Value, digits: usize) -> String {
    goal["median"].as_f64().map_or("none".to_owned(), |median| format!("{median:.digits$}"))
}

#[test]
fn the_readme_says_what_was_measured_and_the_targets_are_met() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("tests/data/annotator.json")).unwrap();
    let found: Value = serde_json::from_str(&text).unwrap();
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let goal = |row: &Value, goal: &str| {
        let goal = &row[goal];
        format!("{} ({} of {})", median(goal, 0), goal["met"], goal["of"])
    };
    let mut rows = Vec::new();
    let stills = |name: &str, row: &Value| {
        let seconds = median(&row["seconds_to_iou_085"], 1);
        let per_point = row["keys_per_point"].as_f64().unwrap();
        let (first, second) = (goal(row, "keys_to_iou_085"), goal(row, "keys_to_iou_090"));
        format!("| {name} | {per_point:.1} | {first} | {second} | {seconds} |")
    };
    let clips = |name: &str, row: &Value| {
        let per_frame = median(&row["keys_per_frame_to_iou_085"], 2);
        let seconds = median(&row["seconds_to_iou_085"], 0);
        let (first, second) = (goal(row, "keys_to_iou_085"), goal(row, "keys_to_iou_090"));
        format!("| {name} | {per_frame} | {first} | {second} | {seconds} |")
    };
    let ways = [
        ("cursor", "cursor with counts, `b`"),
        ("rays", "clock rays"),
        ("suggested", "suggestions"),
    ];
    for (way, name) in ways {
        rows.push(stills(name, &found["ways"][way]));
        rows.push(clips(name, &found["clips_synth"]["ways"][way]));
    }
    for (keymap, row) in found["keymaps"].as_object().into_iter().flatten() {
        rows.push(stills(&format!("clock rays, {keymap}"), row));
    }
    let missing: Vec<&String> = rows.iter().filter(|row| !readme.contains(*row)).collect();
    assert!(missing.is_empty(), "README.md lacks:\n{missing:#?}");

    let (rays, clips) = (&found["ways"]["rays"], &found["clips_synth"]["ways"]["rays"]);
    assert!(rays["keys_per_point"].as_f64().unwrap() <= 3.0);
    assert!(rays["keys_to_iou_085"]["median"].as_f64().unwrap() <= 20.0);
    assert!(clips["keys_per_frame_to_iou_085"]["median"].as_f64().unwrap() <= 1.5);
}
