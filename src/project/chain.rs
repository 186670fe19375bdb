//! Whether the lines of a session are those that it wrote, one behind the other: lines that are gone without a trace, and
//! lines that were exchanged.

use std::ops::Range;

use super::journal::{Line, chain_hash};

/// What does not follow in the lines of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gap {
    /// The line at this position was written behind another one than stands before it.
    Changed(u64),
    /// There are two different lines for this position.
    Twice(u64),
    /// There is no line for these positions.
    Missing(Range<u64>),
}

impl Gap {
    /// What there is to tell of a session's journal; nothing of missing lines, for those may be the damaged ones.
    pub(super) fn what(&self) -> Option<String> {
        match self {
            Self::Changed(n) => Some(format!(
                "step {n} does not follow from the one before it; the journal was changed by \
                 another program, both are loaded"
            )),
            Self::Twice(n) => Some(format!(
                "step {n} is there twice, and not the same; the journal was changed by another \
                 program, the first is loaded"
            )),
            Self::Missing(_) => None,
        }
    }
}

/// Puts the lines of a session in order, each of them once: a continuation file repeats some.
pub(super) fn put_in_order(lines: &mut Vec<Line>) {
    lines.sort_by_key(|line| line.n);
    lines.dedup_by(|later, earlier| later.n == earlier.n && later.own == earlier.own);
}

/// What does not follow in the lines of `session`, which are in order.
pub(super) fn gaps(session: &str, lines: &[Line]) -> Vec<Gap> {
    let (mut next, mut prev) = (0, chain_hash(session.as_bytes()));
    let mut found = Vec::new();
    for line in lines {
        match line.n {
            n if n < next => found.push(Gap::Twice(n)),
            n if n > next => found.push(Gap::Missing(next..n)),
            n if line.prev != prev => found.push(Gap::Changed(n)),
            _ => {}
        }
        (next, prev) = (line.n.saturating_add(1), line.own);
    }
    found
}
