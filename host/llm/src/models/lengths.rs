//! How long a model's answers are: the length that nearly all of them stay below, told at any time without sorting
//! them.

use std::collections::VecDeque;

/// Answers of a model from which the next ones' length is told at the most.
pub(super) const LENGTHS_KEPT: usize = 200;
/// Answers of a stage that have to be known before the next ones' length is told from them.
pub const LENGTHS_NEEDED: usize = 20;

/// Tokens of answers of late, of one who asks.
#[derive(Debug, Default)]
pub(super) struct Lengths {
    /// As they came; the newest is the last.
    came: VecDeque<u64>,
    /// The same, by how long they are.
    sorted: Vec<u64>,
}

impl Lengths {
    /// Takes the length of the next answer, in place of the oldest where there are enough.
    pub(super) fn add(&mut self, tokens: u64) {
        let oldest = if self.came.len() < LENGTHS_KEPT { None } else { self.came.pop_front() };
        if let Some(Ok(place)) = oldest.map(|oldest| self.sorted.binary_search(&oldest)) {
            self.sorted.remove(place);
        }
        self.came.push_back(tokens);
        let place = self.sorted.partition_point(|length| *length < tokens);
        self.sorted.insert(place, tokens);
    }

    /// What 99 of 100 answers stay below; absent: too few are known.
    pub(super) fn most(&self) -> Option<u64> {
        let known = self.sorted.len();
        (known >= LENGTHS_NEEDED).then(|| self.sorted[(known * 99 / 100).min(known - 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_of_nearly_all_is_that_of_the_newest_answers_sorted() {
        let mut lengths = Lengths::default();
        let all: Vec<u64> = (0..500_u64).map(|number| number * 7_919 % 97).collect();
        for known in 1..=all.len() {
            lengths.add(all[known - 1]);
            let mut newest = all[known.saturating_sub(LENGTHS_KEPT)..known].to_vec();
            newest.sort_unstable();
            assert_eq!(lengths.sorted, newest);
            let most = (known >= LENGTHS_NEEDED).then(|| newest[newest.len() * 99 / 100]);
            assert_eq!(lengths.most(), most, "of {known}");
        }
    }
}
