//! Structures that are propagated together get the masks that each would get alone.

use std::fs;

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
