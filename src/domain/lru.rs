//! A cache that knows how much it holds: decoded frames and encoder features, by bytes.
//!
//! A clip may have thousands of frames and the features of one frame may take tens of
//! megabytes, so every cache is bounded by bytes and gives up what was not used for longest.
//! What decides whether this file is right: it holds more than its budget only where a single value is larger.

use std::collections::HashMap;
use std::hash::Hash;

/// Values by key, bounded in bytes, the least recently used one leaving first.
#[derive(Debug)]
pub struct Lru<K, V> {
    held: HashMap<K, Entry<V>>,
    bytes: usize,
    budget_bytes: usize,
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    bytes: usize,
    used: u64,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    /// An empty cache of at most `budget_bytes`; the newest value is kept even when it alone is
    /// larger.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        Self { held: HashMap::new(), bytes: 0, budget_bytes, clock: 0 }
    }

    /// The value under `key`, which thereby becomes the most recently used.
    pub fn get(&mut self, key: K) -> Option<&V> {
        self.clock += 1;
        let entry = self.held.get_mut(&key)?;
        entry.used = self.clock;
        Some(&entry.value)
    }

    /// Whether `key` is held, without counting as use.
    #[must_use]
    pub fn contains(&self, key: K) -> bool {
        self.held.contains_key(&key)
    }

    /// Keeps `value`, which takes `bytes`, and lets go of the least recently used others until
    /// the budget holds.
    pub fn insert(&mut self, key: K, value: V, bytes: usize) {
        self.clock += 1;
        if let Some(old) = self.held.insert(key, Entry { value, bytes, used: self.clock }) {
            self.bytes -= old.bytes;
        }
        self.bytes += bytes;
        while self.bytes > self.budget_bytes && self.held.len() > 1 {
            let oldest = self.held.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            if let Some(gone) = oldest.and_then(|key| self.held.remove(&key)) {
                self.bytes -= gone.bytes;
            }
        }
    }

    /// Whether one more value as large as the largest held fits without another leaving.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let largest = self.held.values().map(|entry| entry.bytes).max().unwrap_or(0);
        self.bytes + largest <= self.budget_bytes
    }

    /// Lets go of everything.
    pub fn clear(&mut self) {
        self.held.clear();
        self.bytes = 0;
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_leaves_and_the_budget_holds() {
        let mut cache = Lru::new(30);
        for key in 0..3 {
            cache.insert(key, key * 10, 10);
        }
        assert_eq!(cache.get(0), Some(&0));
        cache.insert(3, 30, 10);
        assert!(cache.contains(0) && !cache.contains(1) && cache.contains(2));
        assert_eq!(cache.bytes(), 30);
        assert!(!cache.has_room());
        cache.insert(0, 0, 2);
        assert!(!cache.has_room(), "8 of 30 are free, a value takes up to 10");
        cache.insert(2, 0, 2);
        assert!(cache.has_room());
    }

    #[test]
    fn replacing_counts_once_and_an_oversized_value_is_kept_alone() {
        let mut cache = Lru::new(30);
        cache.insert(1, 'a', 20);
        cache.insert(1, 'b', 5);
        assert_eq!((cache.bytes(), cache.get(1)), (5, Some(&'b')));
        cache.insert(2, 'c', 100);
        assert_eq!((cache.bytes(), cache.contains(1), cache.contains(2)), (100, false, true));
        cache.clear();
        assert_eq!((cache.bytes(), cache.contains(2)), (0, false));
    }
}
