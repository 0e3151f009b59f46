//! The steps of a paid call, and how often each was hit.

use std::{collections::BTreeMap, fmt};

/// Where the program was when it was killed, as the store that it left and the small internet tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Before the reservation is there.
    Before,
    /// Reserved, and nothing asked.
    Reserved,
    /// The provider was asked, and is silent.
    Asked,
    /// Half of the answer is on its way.
    Half,
    /// The whole answer has been sent, and isn't settled.
    Answered,
    /// Settled, and the guest doesn't know it.
    Settled,
    /// The guest has its answer, and its attempt isn't settled.
    Seen,
    /// The attempt is settled.
    Done,
    /// At the start, before what an earlier kill left is reconciled.
    Unreconciled,
    /// At the start, after it.
    Reconciled,
    /// While several items were at some step each.
    Crowd,
}

impl Step {
    /// Each of them.
    pub const ALL: [Self; 11] = [
        Self::Before,
        Self::Reserved,
        Self::Asked,
        Self::Half,
        Self::Answered,
        Self::Settled,
        Self::Seen,
        Self::Done,
        Self::Unreconciled,
        Self::Reconciled,
        Self::Crowd,
    ];

    /// Whether it is a matter of chance to hit it: nothing that is seen from outside begins and ends it.
    #[must_use]
    pub fn is_by_chance(self) -> bool {
        matches!(self, Self::Settled | Self::Done | Self::Unreconciled | Self::Reconciled)
    }

    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before the reservation",
            Self::Reserved => "reserved, nothing sent",
            Self::Asked => "the provider works",
            Self::Half => "half of the answer sent",
            Self::Answered => "answered, not settled",
            Self::Settled => "settled, the guest doesn't know",
            Self::Seen => "the guest knows, its attempt isn't settled",
            Self::Done => "the attempt is settled",
            Self::Unreconciled => "at the start, before reconciling",
            Self::Reconciled => "at the start, after reconciling",
            Self::Crowd => "several items at once",
        }
    }
}

/// Kills by step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hits(BTreeMap<Step, u32>);

impl Hits {
    pub(crate) fn add(&mut self, step: Step) {
        *self.0.entry(step).or_default() += 1;
    }

    /// Of one step.
    #[must_use]
    pub fn of(&self, step: Step) -> u32 {
        self.0.get(&step).copied().unwrap_or(0)
    }

    /// Of all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.values().sum()
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in Step::ALL {
            writeln!(f, "{:>6}  {}", self.of(step), step.as_str())?;
        }
        Ok(())
    }
}
