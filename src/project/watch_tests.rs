//! What changed paths belong to.

use super::*;

#[test]
fn a_folder_is_looked_at_once_however_many_of_its_frames_came() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().canonicalize().expect("it is there");
    let (frames, deeper) = (folder.join("scan"), folder.join("patient"));
    for made in [&frames, &deeper] {
        fs::create_dir(made).expect("made");
    }
    let (sender, _found) = mpsc::channel();
    let options = WatchOptions::new(|path| path.ends_with("scan"), |_| Ok(()));
    let scout = Scout {
        folder: folder.clone(),
        options,
        sender,
        every: options.rescan,
        waiting: HashMap::new(),
        told: HashMap::new(),
        wholes: HashMap::new(),
    };
    let frame = |i: usize| frames.join(format!("{i:05}.png"));
    let others = [deeper.clone(), folder.join("a.png"), frames.join("notes.txt")];
    let changed = (0..5000).map(frame).chain(others.clone()).collect();
    let Touched { candidates, folders } = scout.touched(changed);
    let [_, alone, text] = others;
    assert_eq!(candidates, BTreeSet::from([alone, frames.clone(), text]));
    assert_eq!(folders, BTreeSet::from([deeper]));
}
