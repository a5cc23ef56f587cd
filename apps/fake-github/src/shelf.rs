//! A map that holds so much and no more: when it is full, the oldest entry goes.

use std::collections::{BTreeMap, HashMap};

#[derive(Debug)]
pub(crate) struct Shelf<V> {
    capacity: usize,
    next: u64,
    ages: HashMap<String, u64>,
    entries: BTreeMap<u64, (String, V)>,
}

impl<V> Shelf<V> {
    /// Room for `capacity` entries, at least one.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            next: 0,
            ages: HashMap::new(),
            entries: BTreeMap::new(),
        }
    }

    /// Puts an entry in, and returns what had to go for it.
    pub(crate) fn insert(&mut self, key: String, value: V) -> Option<(String, V)> {
        let replaced = self.remove(&key).map(|value| (key.clone(), value));
        let dropped = if self.entries.len() >= self.capacity {
            self.entries.pop_first().map(|(_, entry)| entry)
        } else {
            None
        };
        if let Some((key, _)) = &dropped {
            self.ages.remove(key);
        }
        self.ages.insert(key.clone(), self.next);
        self.entries.insert(self.next, (key, value));
        self.next += 1;
        replaced.or(dropped)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&V> {
        let age = self.ages.get(key)?;
        self.entries.get(age).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut V> {
        let age = self.ages.get(key)?;
        self.entries.get_mut(age).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<V> {
        let age = self.ages.remove(key)?;
        self.entries.remove(&age).map(|(_, value)| value)
    }

    /// Keeps what `keep` says.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        let ages = &mut self.ages;
        self.entries.retain(|_, (key, value)| {
            let kept = keep(value);
            if !kept {
                ages.remove(key);
            }
            kept
        });
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries
            .values()
            .map(|(key, value)| (key.as_str(), value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_the_oldest_when_full() {
        let mut shelf = Shelf::new(2);
        assert_eq!(shelf.insert("a".into(), 1), None);
        assert_eq!(shelf.insert("b".into(), 2), None);
        assert_eq!(shelf.insert("c".into(), 3), Some(("a".into(), 1)));
        assert_eq!(shelf.get("a"), None);
        assert_eq!(shelf.iter().collect::<Vec<_>>(), [("b", &2), ("c", &3)]);
    }

    #[test]
    fn forgets_the_age_of_what_it_removes() {
        let mut shelf = Shelf::new(2);
        for round in 0..10 {
            shelf.insert(format!("{round}"), round);
            shelf.remove(&format!("{round}"));
        }
        shelf.insert("kept".into(), 1);
        shelf.insert("lost".into(), 2);
        shelf.retain(|value| *value == 1);
        assert_eq!(shelf.ages.len(), 1);
        assert_eq!(shelf.entries.len(), 1);
        assert_eq!(shelf.get("kept"), Some(&1));
    }
}
