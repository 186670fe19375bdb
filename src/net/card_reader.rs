//! Takes a YAML mapping apart and collects every fault instead of stopping at the first.
//!
//! Right when a key that is missing, of the wrong kind, or unknown each yields exactly one sentence.

use serde_yaml::{Mapping, Value};

use crate::domain::nearest_word;

/// What stands in for a value that could not be read; the card is refused anyway.
pub(super) trait Blank {
    /// The stand-in.
    fn blank() -> Self;
}

macro_rules! blank {
    ($($t:ty),*) => { $(impl Blank for $t { fn blank() -> Self { Self::default() } })* };
}
blank!(usize, u64, bool, String, Vec<usize>, [f32; 3], Mapping);

impl Blank for super::config::Fit {
    fn blank() -> Self {
        Self::Stretch
    }
}

/// One mapping being read.
pub(super) struct Section<'a> {
    map: Mapping,
    path: String,
    asked: Vec<String>,
    faults: &'a mut Vec<String>,
}

impl<'a> Section<'a> {
    pub(super) fn new(map: Mapping, path: String, faults: &'a mut Vec<String>) -> Self {
        Self { map, path, asked: Vec::new(), faults }
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.asked.push(key.to_owned());
        self.map.remove(key)
    }

    /// A value that must be there.
    pub(super) fn need<T: Blank>(&mut self, key: &str, read: impl Fn(&Value) -> Option<T>) -> T {
        match self.take(key) {
            None => self.fault(key, "is missing"),
            Some(v) => read(&v).unwrap_or_else(|| self.fault(key, &unfit(&v))),
        }
    }

    /// A value with a default.
    pub(super) fn or<T: Blank>(
        &mut self,
        key: &str,
        default: T,
        read: impl Fn(&Value) -> Option<T>,
    ) -> T {
        match self.take(key) {
            None | Some(Value::Null) => default,
            Some(v) => read(&v).unwrap_or_else(|| self.fault(key, &unfit(&v))),
        }
    }

    /// A nested mapping; its absence shows as missing keys inside it.
    pub(super) fn section(&mut self, key: &str) -> Mapping {
        match self.take(key) {
            None | Some(Value::Null) => Mapping::new(),
            Some(Value::Mapping(m)) => m,
            Some(v) => self.fault(key, &unfit(&v)),
        }
    }

    fn fault<T: Blank>(&mut self, key: &str, what: &str) -> T {
        self.faults.push(format!("`{}{key}` {what}", self.path));
        T::blank()
    }

    /// Names the keys nobody asked for.
    pub(super) fn end(self) {
        for key in self.map.keys() {
            let key = key.as_str().unwrap_or("?");
            let near = nearest_word(key, self.asked.iter().map(String::as_str));
            let hint = near.map(|a| format!(", did you mean `{a}`?")).unwrap_or_default();
            self.faults.push(format!("`{}{key}` is unknown{hint}", self.path));
        }
    }
}

fn unfit(value: &Value) -> String {
    let shown = serde_yaml::to_string(value).unwrap_or_default();
    let shown: String = shown.trim().replace('\n', " ").chars().take(40).collect();
    format!("cannot be `{shown}`")
}

/// A string; numbers and booleans count as their text.
pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.trim().to_owned()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

/// A non-negative whole number.
pub(super) fn size_of(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|n| usize::try_from(n).ok())
}

/// A list of non-negative whole numbers.
pub(super) fn sizes_of(value: &Value) -> Option<Vec<usize>> {
    value.as_sequence()?.iter().map(size_of).collect()
}

/// Three numbers.
pub(super) fn triple_of(value: &Value) -> Option<[f32; 3]> {
    let list: Option<Vec<f32>> =
        value.as_sequence()?.iter().map(|v| v.as_f64().map(|x| x as f32)).collect();
    list?.try_into().ok()
}

/// A nested mapping, owned.
pub(super) fn mapping_of(value: &Value) -> Option<Mapping> {
    value.as_mapping().cloned()
}
