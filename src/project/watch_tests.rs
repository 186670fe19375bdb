//! What changed paths belong to, and what a scan notices first.

use super::*;

/// One that nobody listens to; folders of the name `scan` are clips, and every file.
fn scout(folder: &Path) -> Scout {
    let looks = |path: &Path| path.is_file() || path.ends_with("scan");
    let options = WatchOptions::new(looks, |_| Ok(()));
    Scout {
        folder: folder.to_owned(),
        options,
        sender: mpsc::channel().0,
        every: options.rescan,
        waiting: HashMap::new(),
        told: HashMap::new(),
        wholes: HashMap::new(),
    }
}

#[test]
fn what_was_there_before_is_told_in_the_order_of_names() {
    let dir = tempfile::tempdir().expect("a folder");
    let names: Vec<String> = (0..300).map(|i| format!("{:03}.png", i * 7 % 300)).collect();
    for name in &names {
        fs::write(dir.path().join(name), "picture").expect("written");
    }
    let mut scout = scout(dir.path());
    scout.scan(dir.path(), 0);
    let mut noticed: Vec<_> = scout.waiting.iter().map(|(path, w)| (path, w.due)).collect();
    noticed.sort_by_key(|(path, _)| *path);
    assert_eq!(noticed.len(), 300);
    assert!(noticed.is_sorted_by_key(|(_, due)| *due), "what comes first in a list settles first");
}

#[test]
fn a_folder_is_looked_at_once_however_many_of_its_frames_came() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().canonicalize().expect("it is there");
    let (frames, deeper) = (folder.join("scan"), folder.join("patient"));
    for made in [&frames, &deeper] {
        fs::create_dir(made).expect("made");
    }
    let scout = scout(&folder);
    let frame = |i: usize| frames.join(format!("{i:05}.png"));
    let others = [deeper.clone(), folder.join("a.png"), frames.join("notes.txt")];
    let changed = (0..5000).map(frame).chain(others.clone()).collect();
    let Touched { candidates, folders } = scout.touched(changed);
    let [_, alone, text] = others;
    assert_eq!(candidates, BTreeSet::from([alone, frames.clone(), text]));
    assert_eq!(folders, BTreeSet::from([deeper]));
}
