//! Networks that people bring: imported whole or refused with every fault, never trusted, found again by name.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use serde_json::Value;
use sonomark::net::import::keys_of;

use crate::golden_weights::{
    NO_FULL_SET, SEED, fixture, full_set, golden_card, portable_array, portable_file,
};
use crate::surroundings::{data, program, skipped, text, told, until};
use crate::torch_file::{Saved, saved_call, saved_model, saved_wide};

/// A home folder of its own with the program in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn run(&self, words: &[&str]) -> Output {
        program(self.0.path()).current_dir(self.0.path()).args(words).output().unwrap()
    }

    fn models(&self) -> PathBuf {
        self.0.path().join(".local/share/sonomark/models")
    }

    fn entries(&self) -> Vec<String> {
        let all = fs::read_dir(self.models()).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            all.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", told(output));
    serde_json::from_slice(&output.stdout).expect("one JSON document")
}

fn golden_keys() -> BTreeMap<String, Vec<usize>> {
    keys_of(&golden_card().network)
}

#[test]
fn an_imported_network_is_listed_verified_used_by_name_and_removed() {
    let home = Home::new();
    let file = home.write("toy weights.safetensors", &portable_file(&golden_keys(), |_| false));
    let card = fixture("card.yaml");
    let import = ["models", "import", text(&file), "--card", text(&card), "--json"];
    let report = json(&home.run(&import));
    assert_eq!(
        (report["name"].as_str(), report["recognised"].as_str(), report["tensors"].as_u64()),
        (Some("toy-weights"), Some("golden-nano"), Some(359))
    );
    assert_eq!(home.entries(), ["toy-weights.safetensors", "toy-weights.yaml"]);
    // Nobody takes the name of the shipped network.
    let shipped = home.run(&[&import[..], &["--name", "samusa-nano"]].concat());
    assert_eq!(shipped.status.code(), Some(1));
    assert!(told(&shipped).contains("is the shipped network"), "{}", told(&shipped));
    // The name is taken; what is there stays.
    let again = home.run(&import);
    assert_eq!(again.status.code(), Some(1));
    assert!(told(&again).contains("toy-weights already"), "{}", told(&again));
    let listed = json(&home.run(&["models", "list", "--json"]));
    assert_eq!(listed["imported"][0]["sha256"], report["sha256"]);
    let verified = home.run(&["models", "verify"]);
    assert!(verified.status.success(), "{}", told(&verified));
    let out = home.0.path().join("mask.png");
    let frame = data("clips/ultrabones/00005.jpg");
    let segmented = home.run(&[
        "segment",
        text(&frame),
        "--inside",
        "250,300",
        "--card",
        "toy-weights",
        "--json",
        "--out",
        text(&out),
    ]);
    assert_eq!(json(&segmented)["model"], "toy-weights");
    let misspelt = home.run(&[
        "segment",
        text(&frame),
        "--inside",
        "250,300",
        "--card",
        "toy-weigths",
        "--out",
        text(&out),
    ]);
    assert_eq!(misspelt.status.code(), Some(2));
    assert!(told(&misspelt).contains("did you mean toy-weights?"), "{}", told(&misspelt));
    // A flipped byte is seen.
    let weights = home.models().join("toy-weights.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    let verified = home.run(&["models", "verify", "toy-weights"]);
    assert_eq!(verified.status.code(), Some(3));
    // Weights that are gone are told as that, and a folder among the cards is nobody's network.
    fs::remove_file(&weights).unwrap();
    fs::create_dir(home.models().join("folder.yaml")).unwrap();
    for command in [&["models", "list"][..], &["models", "info", "toy-weights"]] {
        let output = home.run(command);
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && told.contains("gone: remove"), "{command:?}: {told}");
    }
    fs::remove_dir(home.models().join("folder.yaml")).unwrap();
    assert!(home.run(&["models", "remove", "toy-weights"]).status.success());
    assert!(home.entries().is_empty());
    assert_eq!(home.run(&["models", "info", "toy-weights"]).status.code(), Some(1));
}

#[test]
fn an_import_that_does_not_fit_names_every_tensor_and_leaves_nothing() {
    let home = Home::new();
    let mut keys = golden_keys();
    keys.insert("stranger.weight".into(), vec![2, 2]);
    keys.insert("no_mem_embed".into(), vec![1, 1, 33]);
    let skip = |key: &str| key == "mask_downsample.bias" || key.ends_with("conv_s0.weight");
    let file = home.write("odd.safetensors", &portable_file(&keys, skip));
    let card = fixture("card.yaml");
    let refused = home.run(&["models", "import", text(&file), "--card", text(&card)]);
    assert_eq!(refused.status.code(), Some(1));
    for word in [
        "2 missing",
        "mask_downsample.bias",
        "conv_s0.weight",
        "1 unexpected",
        "stranger.weight",
        "1 of another shape",
        "wanted [1, 1, 32], found [1, 1, 33]",
    ] {
        assert!(told(&refused).contains(word), "{word} in {}", told(&refused));
    }
    assert!(home.entries().is_empty(), "{:?}", home.entries());
    // Without a card the size is looked for among the published ones, and the nearest is named.
    let unknown = home.run(&["models", "import", text(&file)]);
    assert!(
        told(&unknown).contains("of no size known here; sam2.1-tiny is nearest"),
        "{}",
        told(&unknown)
    );
}

#[test]
fn weights_that_know_no_boundary_point_are_not_imported_as_if_they_did() {
    let home = Home::new();
    let file = home.write("stock.safetensors", &portable_file(&golden_keys(), |_| false));
    let stock = fs::read_to_string(fixture("card.yaml")).unwrap();
    let claims =
        stock.replace("mask_in_chans: 16}", "mask_in_chans: 16, boundary_embedding: true}");
    assert_ne!(claims, stock);
    let card = home.write("claims.yaml", claims.as_bytes());
    let refused = home.run(&["models", "import", text(&file), "--card", text(&card)]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    let missing = "1 missing:\n    sam_prompt_encoder.point_embeddings.4.weight";
    assert!(told(&refused).contains(missing), "{}", told(&refused));
    assert!(home.entries().is_empty(), "{:?}", home.entries());
}

#[test]
fn what_trainers_and_compilers_put_before_the_names_is_taken_off() {
    let home = Home::new();
    let card = fixture("card.yaml");
    let import = |file: &str, keys: BTreeMap<String, Vec<usize>>| {
        let file = home.write(file, &portable_file(&keys, |_| false));
        home.run(&["models", "import", text(&file), "--card", text(&card), "--json"])
    };
    let within = |wrapper: &str| -> BTreeMap<String, Vec<usize>> {
        golden_keys().into_iter().map(|(key, shape)| (format!("{wrapper}{key}"), shape)).collect()
    };
    for (at, wrapper) in ["module.", "_orig_mod.", "model.", "net.module."].iter().enumerate() {
        let report = json(&import(&format!("wrapped{at}.safetensors"), within(wrapper)));
        assert_eq!(report["tensors"], golden_keys().len(), "{wrapper}");
    }
    // What lies beside the network is all that is told.
    let mut beside = within("model.");
    beside.insert("loss.weight".into(), vec![2]);
    let refused = import("beside.safetensors", beside);
    assert_eq!(refused.status.code(), Some(1));
    let told = told(&refused);
    assert!(told.contains("1 unexpected:\n    loss.weight") && !told.contains("missing"), "{told}");
}

#[test]
fn a_file_of_a_published_size_is_recognised_by_its_tensors() {
    let home = Home::new();
    // All tensors of the second size but one: the answer is about that one alone.
    let card = sonomark::net::cards::known("sam2.1-small").unwrap();
    let keys = keys_of(&card.network);
    let views: Vec<(String, Vec<usize>, Vec<u8>)> = keys
        .iter()
        .filter(|(key, _)| *key != "no_obj_ptr")
        .map(|(key, shape)| {
            (key.clone(), shape.clone(), vec![0; 2 * shape.iter().product::<usize>()])
        })
        .collect();
    let views = views.iter().map(|(key, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F16, shape.clone(), bytes);
        (key.as_str(), view.unwrap())
    });
    let file = home.write("some.safetensors", &safetensors::serialize(views, None).unwrap());
    let refused = told(&home.run(&["models", "import", text(&file)]));
    assert!(refused.contains("sam2.1-small is nearest, from which it differs in 1"), "{refused}");
    assert!(refused.contains("1 missing:\n    no_obj_ptr"), "{refused}");
}

#[test]
fn hostile_files_end_in_a_sentence_and_run_nothing() {
    let home = Home::new();
    let touched = home.0.path().join("touched");
    let pickle = format!("cos\nsystem\n(S'touch {}'\ntR.", text(&touched));
    let mut header_bomb = u64::MAX.to_le_bytes().to_vec();
    header_bomb.extend(b"{\"a\":1}");
    let mut tensor_bomb =
        br#"{"a":{"dtype":"F32","shape":[4294967295,4294967295],"data_offsets":[0,8]}}"#.to_vec();
    tensor_bomb =
        [(tensor_bomb.len() as u64).to_le_bytes().to_vec(), tensor_bomb, vec![0; 8]].concat();
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("evil.pt", pickle.into_bytes()),
        ("cut.pt", b"PK\x03\x04 and no more".to_vec()),
        ("empty.pt", Vec::new()),
        ("header.safetensors", header_bomb),
        ("tensor.safetensors", tensor_bomb),
        ("nested.pt", [vec![b'('; 2_000_000], b".".to_vec()].concat()),
    ];
    for (name, bytes) in files {
        let file = home.write(name, &bytes);
        let refused = home.run(&["models", "import", text(&file)]);
        assert_eq!(refused.status.code(), Some(1), "{name}: {}", told(&refused));
        assert!(told(&refused).contains(name), "{name}: {}", told(&refused));
        assert!(home.entries().is_empty(), "{name}: {:?}", home.entries());
    }
    assert!(!touched.exists());
    // A name with what terminals act on hides no cause.
    let file = home.write("net\u{202e}\u{9b}z.pt", b"PK\x03\x04 and no more");
    let refused = told(&home.run(&["models", "import", text(&file)]));
    assert!(refused.contains(r"net\u{202e}\u{9b}z.pt"), "{refused}");
    assert!(!refused.contains("no word"), "{refused}");
}

#[test]
fn a_torch_file_that_calls_a_program_is_read_without_calling_it() {
    let home = Home::new();
    let touched = home.0.path().join("touched");
    let command = format!("touch {}", text(&touched));
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = golden_keys()
        .into_iter()
        .map(|(key, shape)| {
            let values = portable_array(&key, &shape, SEED);
            let bytes = values.into_iter().flat_map(f32::to_le_bytes).collect();
            (key, shape, bytes)
        })
        .collect();
    let card = fixture("card.yaml");
    let import = |name: &str, bytes: &[u8]| {
        let file = home.write(name, bytes);
        home.run(&["models", "import", text(&file), "--card", text(&card), "--json"])
    };
    let whole = |called: Option<&str>| -> Vec<(&str, Saved<'_>)> {
        tensors
            .iter()
            .map(|(key, shape, bytes)| match called == Some(key.as_str()) {
                true => (key.as_str(), Saved::Call(&command)),
                false => (key.as_str(), Saved::Tensor("FloatStorage", shape, bytes)),
            })
            .collect()
    };
    // The layout is the real one: without the call it is a network.
    let honest = json(&import("honest.pt", &saved_model(&whole(None))));
    assert_eq!(honest["tensors"], 359);
    let refused = import("evil.pt", &saved_model(&whole(Some("no_mem_embed"))));
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert!(told(&refused).contains("1 missing:\n    no_mem_embed"), "{}", told(&refused));
    let refused = import("call.pt", &saved_call(&command));
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    assert_eq!(home.entries(), ["honest.safetensors", "honest.yaml"]);
    assert!(!touched.exists(), "the call was made");
}

#[test]
fn a_file_that_asks_for_too_much_memory_ends_its_reader_with_a_sentence() {
    let home = Home::new();
    // A byte becomes an object; twenty million of them are more than the reader may hold.
    let file = home.write("wide.pt", &[b"\x80\x02", &vec![b'N'; 20_000_000][..], b"."].concat());
    let refused = home.run(&["models", "import", text(&file)]);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    let words = ["wide.pt could not be read within 1062 MiB and 600 s", "memory allocation of"];
    assert!(words.iter().all(|word| told(&refused).contains(word)), "{}", told(&refused));
    assert!(told(&refused).contains("nothing was imported"), "{}", told(&refused));
    assert!(home.entries().is_empty(), "{:?}", home.entries());
    // Nor is the copy left that the reader made of an archive before it was ended.
    let file = home.write("copied.pt", &saved_wide(20_000_000));
    let refused = told(&home.run(&["models", "import", text(&file)]));
    assert!(refused.contains("memory allocation of"), "{refused}");
    assert!(home.entries().is_empty(), "{:?}", home.entries());
}

#[test]
fn an_import_that_is_interrupted_leaves_nothing() {
    let home = Home::new();
    let file = home.write("copied.pt", &saved_wide(20_000_000));
    let mut import = program(home.0.path());
    import.args(["models", "import", text(&file)]).process_group(0);
    let import = import.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    until("it does not begin", || !home.entries().is_empty());
    // As a terminal does it: to the reader of the file, too.
    // SAFETY: a signal to a group of this test.
    unsafe { libc::kill(-(import.id() as libc::pid_t), libc::SIGINT) };
    let output = import.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", told(&output));
    assert!(told(&output).contains("interrupted; nothing was imported"), "{}", told(&output));
    assert!(home.entries().is_empty(), "{:?}", home.entries());
}

#[test]
fn a_whole_published_size_is_recognised_and_its_512_px_card_is_taken_where_it_is_asked_for() {
    let home = Home::new();
    let keys = keys_of(&sonomark::net::cards::known("sam2.1-tiny").unwrap().network);
    let most = keys.values().map(|shape| shape.iter().product::<usize>()).max().unwrap();
    let zeros = vec![0; 2 * most];
    let bytes = |shape: &[usize]| &zeros[..2 * shape.iter().product::<usize>()];
    let views = keys.iter().map(|(key, shape)| {
        let (dtype, bytes) = (safetensors::Dtype::F16, bytes(shape));
        (key, safetensors::tensor::TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    let plain = home.0.path().join("plain.safetensors");
    safetensors::serialize_to_file(views, None, &plain).unwrap();
    // As MedSAM2 is published: `{"model": ..}` in a file of PyTorch's.
    let values = keys
        .iter()
        .map(|(key, shape)| (key.as_str(), Saved::Tensor("HalfStorage", shape, bytes(shape))));
    let values: Vec<(&str, Saved<'_>)> = values.collect();
    let medsam = home.write("MedSAM2.pt", &saved_model(&values));
    let at_512 = ["--card", "sam2.1-tiny-512"];
    for (file, card, wanted, pixels) in [
        (&plain, &[][..], ("plain", "sam2.1-tiny"), 1024),
        (&medsam, &at_512[..], ("MedSAM2", "sam2.1-tiny-512"), 512),
    ] {
        let import = [&["models", "import", text(file), "--json"], card].concat();
        let report = json(&home.run(&import));
        assert_eq!(
            (report["name"].as_str(), report["recognised"].as_str()),
            (Some(wanted.0), Some(wanted.1))
        );
        assert_eq!(report["tensors"], keys.len());
        let info = json(&home.run(&["models", "info", wanted.0, "--json"]));
        assert_eq!(
            (info["image_size"].as_u64(), info["boundary"].as_bool()),
            (Some(pixels), Some(false))
        );
        assert_eq!((&info["sha256"], &info["tensors"]), (&report["sha256"], &report["tensors"]));
        let weights = PathBuf::from(info["weights"].as_str().unwrap());
        assert_eq!(weights, home.models().join(format!("{}.safetensors", wanted.0)));
        let told = String::from_utf8(home.run(&["models", "info", wanted.0]).stdout).unwrap();
        assert!(told.contains(&format!("input     {pixels} x {pixels} px, stretched")), "{told}");
        assert!(told.contains("prompts   boundary points bridged by a curve"), "{told}");
        // No published weights: nobody said a licence of them.
        let name = file.file_name().unwrap().to_str().unwrap();
        let lines = format!("licence   NOASSERTION\nlineage   {name} (SHA-256 ");
        assert!(told.contains(&lines), "{told}");
    }
    let verified = json(&home.run(&["models", "verify", "--json"]));
    let row = |name: &str| serde_json::json!({ "name": name, "ok": true, "why": null });
    assert_eq!(verified, serde_json::json!([row("MedSAM2"), row("plain")]));
}

#[test]
fn scores_of_a_card_are_lines_for_people() {
    let home = Home::new();
    let output = home.run(&["models", "info", "samusa-nano"]);
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("\n    usgra_val            1: 0.503, 2: 0.825, "), "{told}");
    assert!(!told.contains(['{', '}', '"']), "{told}");
}

#[test]
fn weights_that_are_no_numbers_are_refused() {
    let home = Home::new();
    let mut bytes = portable_file(&golden_keys(), |_| false);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    let file = home.write("nan.safetensors", &bytes);
    let card = fixture("card.yaml");
    let refused = home.run(&["models", "import", text(&file), "--card", text(&card)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(told(&refused).contains("not finite numbers"), "{}", told(&refused));
    assert!(home.entries().is_empty());
}

#[test]
fn a_published_pt_file_and_its_safetensors_twin_import_alike() {
    let Some(dir) = full_set() else { return skipped(NO_FULL_SET) };
    let home = Home::new();
    let card = fixture("card.yaml");
    let hashes: Vec<Value> = ["pt", "safetensors"]
        .iter()
        .map(|ending| {
            let file = dir.join(format!("sam2.1_nano_seed58.{ending}"));
            let name = format!("from-{ending}");
            let report = json(&home.run(&[
                "models",
                "import",
                text(&file),
                "--card",
                text(&card),
                "--name",
                &name,
                "--json",
            ]));
            report["sha256"].clone()
        })
        .collect();
    assert_eq!(hashes[0], hashes[1]);
}
