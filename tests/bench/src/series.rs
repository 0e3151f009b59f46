//! Figures of several runs, and how they are printed: the median, the range, and what must be reached.

use anyhow::{Result, ensure};

/// One figure, run by run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
        self.0.sort_by(f64::total_cmp);
    }

    /// Takes many in.
    pub(crate) fn extend(&mut self, figures: impl IntoIterator<Item = f64>) {
        self.0.extend(figures);
        self.0.sort_by(f64::total_cmp);
    }

    /// The middle one; of an even number the lower of the two.
    pub(crate) fn median(&self) -> f64 {
        self.part(0.5)
    }

    /// The figure below which that part of all lies.
    pub(crate) fn part(&self, part: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * part) as usize).copied().unwrap_or(f64::NAN)
    }

    /// The median, and the range behind it.
    pub(crate) fn shown(&self) -> String {
        let [least, median, most] = [0.0, 0.5, 1.0].map(|part| short(self.part(part)));
        format!("{median} ({least} to {most})")
    }
}

/// Three figures that count.
fn short(figure: f64) -> String {
    let digits = (2 - figure.abs().max(0.001).log10().floor() as i32).clamp(0, 4) as usize;
    format!("{figure:.digits$}")
}

/// What a line must reach.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Bar {
    /// Ours over the reference.
    RatioAtLeast(f64),
    /// Ours.
    AtLeast(f64),
    /// Ours.
    AtMost(f64),
    /// Nothing: it is told for its own sake.
    None,
}

/// A line of the table, before anything is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    /// What is measured, with its unit.
    pub(crate) what: &'static str,
    /// What stands beside it, if something does.
    pub(crate) reference: Option<&'static str>,
    /// What must be reached.
    pub(crate) bar: Bar,
}

/// What one run gave for a line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) ours: f64,
    pub(crate) reference: Option<f64>,
}

impl Sample {
    /// A figure that stands alone.
    pub(crate) fn alone(ours: f64) -> Self {
        Self { ours, reference: None }
    }

    /// A figure beside its reference, both of one run.
    pub(crate) fn beside(ours: f64, reference: f64) -> Self {
        Self { ours, reference: Some(reference) }
    }
}

/// A line with what its runs gave.
#[derive(Debug)]
pub(crate) struct Measured {
    line: Line,
    ours: Series,
    reference: Series,
    ratio: Series,
}

impl Measured {
    pub(crate) fn new(line: Line) -> Self {
        Self { line, ours: Series::default(), reference: Series::default(), ratio: Series::default() }
    }

    pub(crate) fn add(&mut self, sample: Sample) {
        self.ours.push(sample.ours);
        if let Some(reference) = sample.reference {
            self.reference.push(reference);
            // Run by run: a machine that slows down slows both.
            self.ratio.push(sample.ours / reference);
        }
    }

    /// Whether the median reaches the bar.
    pub(crate) fn is_reached(&self) -> bool {
        match self.line.bar {
            Bar::RatioAtLeast(bar) => self.ratio.median() >= bar,
            Bar::AtLeast(bar) => self.ours.median() >= bar,
            Bar::AtMost(bar) => self.ours.median() <= bar,
            Bar::None => true,
        }
    }

    /// The line, for people.
    pub(crate) fn print(&self) {
        let reached = if self.is_reached() { "reached" } else { "MISSED" };
        let bar = match self.line.bar {
            Bar::RatioAtLeast(bar) => format!("ratio at least {bar}: {reached}"),
            Bar::AtLeast(bar) => format!("at least {bar}: {reached}"),
            Bar::AtMost(bar) => format!("at most {bar}: {reached}"),
            Bar::None => "none".to_owned(),
        };
        println!("{}", self.line.what);
        println!("  tollgate   {}", self.ours.shown());
        if let Some(reference) = self.line.reference {
            println!("  reference  {}  {reference}", self.reference.shown());
            println!("  ratio      {}", self.ratio.shown());
        }
        println!("  bar        {bar}");
    }
}

/// An error names those that miss their bars.
pub(crate) fn judge(all: &[Measured]) -> Result<()> {
    let missed: Vec<&str> = all.iter().filter(|one| !one.is_reached()).map(|one| one.line.what).collect();
    let held = all.iter().filter(|one| !matches!(one.line.bar, Bar::None)).count();
    ensure!(missed.is_empty(), "{} of {held} figures miss their bars: {}", missed.len(), missed.join("; "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends_are_shown_with_three_figures() {
        let mut series = Series::default();
        [12_345.6, 0.5, 7.0].into_iter().for_each(|figure| series.push(figure));
        assert_eq!(series.shown(), "7.00 (0.500 to 12346)");
    }

    #[test]
    fn a_ratio_is_taken_run_by_run() {
        let line = Line { what: "it", reference: Some("bare"), bar: Bar::RatioAtLeast(0.5) };
        let mut measured = Measured::new(line);
        for (ours, bare) in [(5.0, 10.0), (1.0, 10.0), (60.0, 100.0)] {
            measured.add(Sample::beside(ours, bare));
        }
        assert!(measured.is_reached());
        assert!(judge(&[measured]).is_ok());
        let mut slow = Measured::new(Line { bar: Bar::AtMost(1.0), ..line });
        slow.add(Sample::alone(2.0));
        let mut told = Measured::new(Line { bar: Bar::None, ..line });
        told.add(Sample::beside(2.0, 1.0));
        let missed = judge(&[slow, told]).unwrap_err().to_string();
        assert!(missed.starts_with("1 of 1 figures"), "what has no bar is no figure that misses one: {missed}");
    }
}
