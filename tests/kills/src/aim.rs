//! At what a kill is aimed. Most steps begin and end with something that is seen from outside, and are hit for certain;
//! at the others a seeded moment is tried, and corrected by what it hit.

use std::time::Duration;

use crate::{
    internet::Service,
    step::{Hits, Step},
};

/// How the paths begin of what an item fetches last.
const LAST_PAGE: &str = "/after";

/// What a kill waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// A page whose path begins so is asked for, and held.
    PageHeld(&'static str),
    /// Such a page is let go, and a moment passes.
    PageLetGo(&'static str),
    /// A tunnel is asked for, and not made.
    TunnelKept,
    /// The service is asked, and silent.
    Silent(Service),
    /// Half of an answer has come.
    Half,
    /// A whole answer has come to the program, which stands still.
    Stopped,
    /// A whole answer was sent, and a moment passes.
    Sent,
    /// The program is started over calls that an earlier kill left under way, and a moment passes.
    Starting,
    /// Several items are under way, and a moment passes.
    Crowd,
}

/// One round: each step at least once. One that starts follows one that leaves a call under way.
pub(crate) const ROUND: [Aim; 15] = [
    Aim::PageHeld("/before"),
    Aim::TunnelKept,
    Aim::Starting,
    Aim::Silent(Service::Model),
    Aim::PageLetGo("/before"),
    Aim::Half,
    Aim::Starting,
    Aim::Sent,
    Aim::Stopped,
    Aim::Starting,
    Aim::PageHeld("/between"),
    Aim::Sent,
    Aim::Silent(Service::Search),
    Aim::PageLetGo(LAST_PAGE),
    Aim::Crowd,
];
/// What is tried again for each step that was hit too seldom, one after the other.
pub(crate) fn again(step: Step) -> &'static [Aim] {
    match step {
        Step::Before => &[Aim::PageHeld("/before")],
        Step::Reserved => &[Aim::TunnelKept],
        Step::Asked => &[Aim::Silent(Service::Model)],
        Step::Half => &[Aim::Half],
        Step::Answered => &[Aim::Stopped],
        Step::Settled => &[Aim::Sent],
        Step::Seen => &[Aim::PageHeld(LAST_PAGE)],
        Step::Done => &[Aim::PageLetGo(LAST_PAGE)],
        Step::Unreconciled | Step::Reconciled => &[Aim::Silent(Service::Model), Aim::Starting],
        Step::Crowd => &[Aim::Crowd],
    }
}

/// Moments that pass before a kill, found by what the ones before them hit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moments {
    /// After a page before a call is let go.
    pub(crate) before: Moment,
    /// After the last page is let go.
    pub(crate) after: Moment,
    /// After an answer was sent.
    pub(crate) answer: Moment,
    /// After the program was started.
    pub(crate) start: Moment,
}

impl Default for Moments {
    fn default() -> Self {
        Self { before: Moment(2_000), after: Moment(4_000), answer: Moment(4_000), start: Moment(150_000) }
    }
}

impl Moments {
    /// The one to wait for after such a page is let go.
    pub(crate) fn of_page(self, pages: &str) -> Moment {
        if pages == LAST_PAGE { self.after } else { self.before }
    }

    /// Corrects the one that was waited for.
    pub(crate) fn correct(&mut self, aim: Aim, hit: Step) {
        match (aim, hit) {
            (Aim::PageLetGo(LAST_PAGE), Step::Seen) => self.after.later(),
            (Aim::PageLetGo(LAST_PAGE), Step::Done) => {}
            (Aim::PageLetGo(LAST_PAGE), _) => self.after.earlier(),
            (Aim::PageLetGo(_), Step::Before) => self.before.later(),
            (Aim::PageLetGo(_), _) => self.before.earlier(),
            (Aim::Sent, Step::Answered) => self.answer.later(),
            (Aim::Sent, Step::Settled) => {}
            (Aim::Sent, _) => self.answer.earlier(),
            (Aim::Starting, Step::Unreconciled) => self.start.later(),
            (Aim::Starting, _) => self.start.earlier(),
            _ => {}
        }
    }
}

/// How long, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment(u64);

impl Moment {
    /// From three quarters of it to five quarters.
    pub(crate) fn draw(self, chance: &mut Chance) -> Duration {
        Duration::from_micros(self.0 * 3 / 4 + chance.below(self.0 / 2 + 1))
    }

    fn later(&mut self) {
        self.0 = (self.0 * 5 / 4 + 20).min(5_000_000);
    }

    fn earlier(&mut self) {
        self.0 = self.0 * 4 / 5;
    }
}

/// A linear congruential generator (Knuth's MMIX constants).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    /// The next number, less than that; 0 where that is 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33).checked_rem(end).unwrap_or(0)
    }
}

/// The steps that were hit less often than that. Once is enough where an attempt is settled and the next item hasn't
/// begun: an optimised program is past that within microseconds, and a kill a moment later finds the same store.
pub(crate) fn short_of(hits: &Hits, least: u32, least_by_chance: u32) -> Vec<Step> {
    let least = |step: &Step| match step {
        Step::Done => least_by_chance.min(1),
        step if step.is_by_chance() => least_by_chance,
        _ => least,
    };
    Step::ALL.into_iter().filter(|step| hits.of(*step) < least(step)).collect()
}
