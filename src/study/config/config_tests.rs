//! Tests of how the file of a study is read.

use super::*;

#[test]
fn a_study_reads_as_it_is_written() {
    let text = "data:\n  - {name: a, train: x/a:train.txt, test: x/a:val.txt}\n  - {name: b, test: /b}\n\
                training: {steps: 40, clip_share: 0.5, clip_clicks: 0.25}\npoints: 5\narms:\n  - {name: ours, prompt: boundary, card: shipped}\n  - name: both\n    \
                prompt: region\n    cards: [{card: nets/a.yaml, trained_on: [a]}, {card: nets/b.yaml, trained_on: []}]\n  - \
                {name: flat, baseline: polygon}\nclips: [{name: c, path: clips}]\nclip_arms:\n  - {name: t, prompt: region, \
                card: shipped, windows: false}\n  - {name: m, baseline: motion}\nzero_shot: false\n";
    let study = from_text("s.yaml", text, Path::new("/here")).expect("no fault");
    assert_eq!(study.data[0].test, DataSource::parse("/here/x/a:val.txt"));
    assert_eq!((study.points, study.training.budget), (5, Budget::Steps(40)));
    assert_eq!((study.training.clip_share, study.training.clip_clicks), (0.5, 0.25));
    let ArmKind::Network { source: NetworkSource::Cards(cards), contour_step, .. } =
        &study.arms[1].kind
    else {
        panic!("{:?}", study.arms[1]);
    };
    assert_eq!(cards[0], ("/here/nets/a.yaml".to_owned(), vec![0]));
    assert_eq!((cards[1].1.len(), *contour_step), (0, false));
    assert_eq!(study.arms[2].kind, ArmKind::Baseline(Baseline::Polygon));
    assert_eq!((study.compare, study.zero_shot), (Some([0, 1]), false));
    assert_eq!(study.clips[0].path, Path::new("/here/clips"));
    let (placing, card) = (Placing::Region, Some("shipped".to_owned()));
    let told = ClipArmKind::Network { placing, windows: false, motion: true, card };
    assert_eq!(study.clip_arms[0].kind, told);
    assert_eq!(study.clip_arms[1].kind, ClipArmKind::Baseline(ClipBaseline::Motion));
}

#[test]
fn a_folder_with_lists_is_judged_on_what_is_held_back_and_sharing_is_a_fault() {
    let home = tempfile::tempdir().expect("a folder");
    let dir = home.path().join("lk");
    std::fs::create_dir(&dir).expect("a folder");
    for (file, text) in [("train.txt", "a\n"), ("val.txt", "b\n"), ("all.txt", "a\nb\n")] {
        std::fs::write(dir.join(file), text).expect("a list");
    }
    let read = |test: &str| {
        let text = format!(
            "data: [{{name: l, train: lk, test: {test}}}]\narms: [{{name: s, baseline: spline}}]\n"
        );
        from_text("s.yaml", &text, home.path())
    };
    let study = read("lk").expect("no fault");
    let list = |source: &DataSource| source.list.clone().unwrap_or_default();
    let (train, test) = (study.data[0].train.as_ref().map(list), list(&study.data[0].test));
    assert_eq!((train.as_deref(), &*test), (Some("train.txt"), "val.txt"));
    let fault = read("lk:all.txt").expect_err("a is in both").to_string();
    assert!(fault.contains("`train` of set l and `test` of set l share images"), "{fault}");
    assert!(fault.contains("a.png"), "{fault}");
}

#[test]
fn all_faults_are_told_with_their_lines() {
    let text = "data:\n  - {name: a, tset: x}\npoints: 21\narms:\n  - {name: x, prompt: bundary, card: c}\n  - {name: x, \
                prompt: region, train: true, curve: true}\n  - {name: y, baseline: polygn}\n  - {name: z}\n  - {name: l, prompt: boundary, train: true, \
                boundary_loss: rigde}\n  - {name: k, prompt: boundary, card: c, lambda: 3}\ncompare: [x]\n";
    let all = from_text("s.yaml", text, Path::new("/")).expect_err("faults").to_string();
    for part in [
        "line 2: `data[0].tset` is unknown; did you mean `test`?",
        "line 2: `data[0].test` is missing",
        "line 3: `points` must be a whole number from 1 to 20",
        "line 5: `arms[0].prompt` is \"bundary\"; choose one of `boundary`, `region`; did you mean",
        "line 6: `arms[1].curve` needs boundary points",
        "line 7: `arms[2].baseline` is \"polygn\"",
        "line 8: `arms[3]` needs exactly one of",
        "line 9: `arms[4].boundary_loss` is \"rigde\"; choose one of `ridge`, `gradient`",
        "line 10: `arms[5].lambda` says how an arm learns",
        "line 11: `compare` must name two arms",
    ] {
        assert!(all.contains(part), "{part} is missing in\n{all}");
    }
}
