//! No crate of the lock file has a fault that was published, and all come from where crates are published.

use std::fs;
use std::path::Path;

use serde::Deserialize;

const PUBLISHED: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advisory {
    #[serde(rename = "crate")]
    name: String,
    /// The first version without the fault; none where there is no such version.
    from: Option<String>,
    id: String,
    why: String,
    /// Versions of which no line is ever built.
    #[serde(default)]
    unbuilt: Vec<String>,
}

struct Locked<'a> {
    name: &'a str,
    version: &'a str,
    source: Option<&'a str>,
}

fn locked(lock: &str) -> Vec<Locked<'_>> {
    let packages = lock.split("[[package]]").skip(1);
    packages.map(Locked::read).collect()
}

impl<'a> Locked<'a> {
    fn read(package: &'a str) -> Self {
        let value = |key: &str| value(package, key);
        Self {
            name: value("name").unwrap(),
            version: value("version").unwrap(),
            source: value("source"),
        }
    }
}

fn value<'a>(package: &'a str, key: &str) -> Option<&'a str> {
    let (_, behind) = package.split_once(&format!("\n{key} = \""))?;
    behind.split('"').next()
}

fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap();
    release.split('.').map(|number| number.parse().unwrap()).collect()
}

fn faults(packages: &[Locked<'_>], advisories: &[Advisory]) -> Vec<String> {
    let mut told = Vec::new();
    for advisory in advisories {
        let Advisory { name, from, id, why, unbuilt } = advisory;
        let of_it = || packages.iter().filter(|package| package.name == name);
        for Locked { version, .. } in of_it() {
            let mended = from.as_ref().is_some_and(|from| numbers(version) >= numbers(from));
            if !mended && !unbuilt.iter().any(|known| known == version) {
                told.push(format!("{name} {version}: {why} ({id})"));
            }
        }
        let gone =
            unbuilt.iter().filter(|known| !of_it().any(|package| package.version == **known));
        told.extend(gone.map(|known| format!("{name} {known} is not locked any more ({id})")));
    }
    told
}

#[test]
fn no_locked_crate_has_a_published_fault() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let list = fs::read_to_string(root.join("tests/advisories.yaml")).unwrap();
    let advisories: Vec<Advisory> = serde_yaml::from_str(&list).unwrap();
    let lock = fs::read_to_string(root.join("Cargo.lock")).unwrap();
    let packages = locked(&lock);
    assert!(packages.len() > 100);
    assert_eq!(faults(&packages, &advisories), [] as [String; 0]);
    let elsewhere = packages.iter().filter(|package| package.source != Some(PUBLISHED));
    let elsewhere: Vec<&str> = elsewhere.map(|package| package.name).collect();
    assert_eq!(elsewhere, ["sonomark"], "only what is published can be checked");
}

#[test]
fn a_crate_with_a_fault_is_told() {
    let list = "- { crate: tar, from: 0.4.45, id: one, why: bad, unbuilt: [0.3.0, 0.2.0] }\n\
                - { crate: libyml, id: two, why: worse }\n";
    let advisories: Vec<Advisory> = serde_yaml::from_str(list).unwrap();
    let lock: String =
        ["tar 0.4.44", "tar 0.4.100", "tar 0.3.0", "libyml 9.0.0+x", "tarball 0.1.0"]
            .iter()
            .map(|package| {
                let (name, version) = package.split_once(' ').unwrap();
                format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n")
            })
            .collect();
    let told = [
        "tar 0.4.44: bad (one)",
        "tar 0.2.0 is not locked any more (one)",
        "libyml 9.0.0+x: worse (two)",
    ];
    assert_eq!(faults(&locked(&lock), &advisories), told);
}
