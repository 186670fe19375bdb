//! Structures that are propagated together get the masks that each would get alone.

use std::fs;

use crate::headless::{json, write_undecodable};
use crate::surroundings::{Home, files_below, long_clip, text, told};

/// A structure with a window and a few boundary points on a frame.
fn structure(label: &str, window: [usize; 2], frame: usize, [x, y, r]: [f32; 3]) -> String {
    let [first, last] = window;
    let points = [(x - r, y), (x, y - r), (x + r, y), (x, y + r)];
    let points: Vec<String> = points.iter().map(|(x, y)| format!("[{x}, {y}]")).collect();
    format!(
        "  - label: {label}\n    windows: [[{first}, {last}]]\n    prompts:\n      - frame: {frame}\n        boundary: [{}]\n",
        points.join(", ")
    )
}

#[test]
fn structures_that_walk_together_get_the_masks_that_each_gets_alone() {
    let home = Home::new();
    let clip = home.path("clip");
    long_clip(&clip, 30);
    let structures = [
        structure("rib", [0, 20], 8, [240.0, 200.0, 60.0]),
        structure("pleura", [4, 29], 8, [150.0, 120.0, 40.0]),
        structure("far", [10, 25], 25, [330.0, 260.0, 50.0]),
    ];
    let run = |name: &str, structures: &[String]| {
        let (prompts, out) = (home.path(&format!("{name}.yaml")), home.path(name));
        fs::write(&prompts, format!("tracks:\n{}", structures.concat())).unwrap();
        let words = ["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)];
        // Room for the features of one frame: what is shared is shared on the spot.
        let mut command = home.command(&words);
        let output = command.env("SONOMARK_FEATURES_MIB", "1").output().unwrap();
        assert!(output.status.success(), "{}", told(&output));
        out
    };
    let together = run("together", &structures);
    for structure in &structures {
        let alone = run("alone", std::slice::from_ref(structure));
        let masks = files_below(&alone);
        let masks: Vec<_> =
            masks.iter().filter(|file| file.extension().is_some_and(|e| e == "png")).collect();
        assert_eq!(masks.len(), 30);
        for mask in masks {
            let other = together.join(mask.strip_prefix(&alone).unwrap());
            assert!(fs::read(mask).unwrap() == fs::read(&other).unwrap(), "{}", other.display());
        }
        fs::remove_dir_all(&alone).unwrap();
    }
}

#[test]
fn a_frame_is_encoded_once_for_all_structures_on_it() {
    let home = Home::new();
    let (clip, prompts, out) = (home.path("clip"), home.path("p.yaml"), home.path("out"));
    long_clip(&clip, 21);
    let structures = [
        structure("rib", [0, 20], 8, [240.0, 200.0, 60.0]),
        structure("pleura", [0, 20], 8, [150.0, 120.0, 40.0]),
    ];
    fs::write(&prompts, format!("tracks:\n{}", structures.concat())).unwrap();
    let words = ["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)];
    // One after the other they would find nothing that was kept.
    let output = home.command(&words).env("SONOMARK_FEATURES_MIB", "1").output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    let report = json(&fs::read(out.join("report.json")).unwrap());
    let mut encoded = [0; 21];
    for track in report["tracks"].as_array().unwrap() {
        for frame in track["frames"].as_array().unwrap() {
            let at = frame["frame"].as_u64().unwrap() as usize;
            encoded[at] += usize::from(frame["encode_ms"].as_f64().unwrap() > 0.0);
        }
    }
    assert_eq!(encoded, [1; 21]);
}

#[test]
fn a_structure_without_a_readable_anchor_does_not_hold_up_the_others_or_their_progress() {
    let home = Home::new();
    let (clip, prompts, out) = (home.path("clip"), home.path("p.yaml"), home.path("out"));
    fs::create_dir(&clip).unwrap();
    for frame in 0..12u32 {
        let still = image::GrayImage::from_fn(96, 96, |x, y| image::Luma([(x * y + frame) as u8]));
        still.save(clip.join(format!("{frame:05}.png"))).unwrap();
    }
    write_undecodable(&clip.join("00003.png"));
    let structures = [
        structure("lost", [0, 11], 3, [40.0, 40.0, 20.0]),
        structure("held", [0, 11], 6, [50.0, 50.0, 20.0]),
    ];
    fs::write(&prompts, format!("tracks:\n{}", structures.concat())).unwrap();
    let words = ["propagate", text(&clip), "--prompts", text(&prompts), "--out", text(&out)];
    let output = home.run(&words);
    let told = told(&output);
    assert_eq!(output.status.code(), Some(3), "{told}");
    for part in [
        "\"lost\" frame 3: ",
        "no other anchor is left: put boundary points on another frame",
        "\"held\" frame 3: ",
        "2 frames could not be decoded",
        // One of the first, twelve of the second.
        "2 structures: 13 of 13 frames",
    ] {
        assert!(told.contains(part), "{part} is missing in {told}");
    }
    let masks = |label: &str| files_below(&out.join(label)).len();
    assert_eq!((masks("lost"), masks("held")), (0, 11));
}
