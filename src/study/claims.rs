//! What the paper claims of simulated points on stills (section 3.2), held against the figures of a study.
//!
//! What decides whether this file is right: a claim fails where the data say the opposite, and stays uncertain where
//! the interval holds both, or where there are too few images or clips for an interval to be believed.

use super::config::StudyConfig;
use super::report::{lead_with_interval, with_interval};
use super::simulate::Setting;
use super::stats::Interval;
use super::tables::{Tables, Versus};
use crate::domain::counted;

/// Advantage at two points that the paper states for sets the networks never saw, IoU.
const ZERO_SHOT_LEAD: f64 = 0.10;
/// The lowest Dice of its Table 4 for boundary points, supervised and zero-shot.
const TABLE_4: [f64; 2] = [0.95, 0.90];

/// Fewer images or clips cannot differ significantly whatever they show: six pairs are the least for a p below .05.
const LEAST_EVIDENCE: usize = 6;

/// How a claim fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval agrees with it.
    Holds,
    /// The mean agrees, the interval not wholly.
    NotShown,
    /// The mean says the opposite.
    Fails,
}

/// A claim and what the data say.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// The claim.
    pub sentence: String,
    /// How it fares.
    pub verdict: Verdict,
    /// The figures.
    pub evidence: String,
}

/// The claims that the study can test.
#[must_use]
pub fn judged(config: &StudyConfig, tables: &Tables) -> Vec<Claim> {
    let Some(arms) = config.compare else { return Vec::new() };
    let set = (config.data.len() == 1).then_some(0);
    let mut claims = Vec::new();
    for setting in &tables.settings {
        let here: Vec<&Versus> = tables
            .versus
            .iter()
            .filter(|v| v.setting == *setting && v.set == set && v.arms == arms)
            .filter(|v| v.points.is_some())
            .collect();
        claims.extend(everywhere(*setting, &here));
        if let (Setting::ZeroShot, Some(two)) =
            (*setting, here.iter().find(|v| v.points == Some(2)))
        {
            claims.push(lead_at_two(two));
        }
        if let Some(ten) = tables.row(*setting, set, arms[0], Some(10)) {
            let least = TABLE_4[usize::from(*setting == Setting::ZeroShot)];
            let dice = ten.dice;
            claims.push(Claim {
                sentence: format!(
                    "after ten boundary points Dice is {least:.2} or more ({})",
                    setting.name()
                ),
                verdict: verdict(borne(dice, ten.images), least),
                evidence: with_interval(dice, "image") + &alone(ten.images, "image"),
            });
        }
    }
    claims
}

/// The figure, without its interval where it rests on too few pieces of evidence.
pub(super) fn borne(figure: Interval, pieces: usize) -> Interval {
    Interval { range: figure.range.filter(|_| pieces >= LEAST_EVIDENCE), ..figure }
}

/// What is added to a figure on so few pieces of evidence (`of`) that nothing is certain.
pub(super) fn alone(pieces: usize, of: &str) -> String {
    match pieces {
        2..LEAST_EVIDENCE => format!(", of {} alone", counted(pieces, of)),
        _ => String::new(),
    }
}

/// Whether a figure reaches `least`, and whether its whole interval does.
pub(super) fn verdict(figure: Interval, least: f64) -> Verdict {
    match (figure.mean >= least, figure.is_surely(least)) {
        (false, _) => Verdict::Fails,
        (true, false) => Verdict::NotShown,
        (true, true) => Verdict::Holds,
    }
}

/// Fig. 2: boundary points are ahead whatever their number.
fn everywhere(setting: Setting, versus: &[&Versus]) -> Option<Claim> {
    let lead = |v: &&&Versus| v.difference.mean > 0.0;
    let certain =
        |v: &&&Versus| borne(v.difference, v.images).range.is_some_and(|[low, _]| low > 0.0);
    let (ahead, sure) = (versus.iter().filter(lead).count(), versus.iter().filter(certain).count());
    let verdict = match versus.len() {
        0 => return None,
        n if n == sure => Verdict::Holds,
        n if n == ahead => Verdict::NotShown,
        _ => Verdict::Fails,
    };
    let telling = |v: &&&Versus| match verdict {
        Verdict::Holds => true,
        Verdict::NotShown => !certain(v),
        Verdict::Fails => v.difference.mean <= 0.0,
    };
    let listed: Vec<String> = versus
        .iter()
        .filter(telling)
        .map(|v| {
            let k = v.points.unwrap_or_default();
            format!("{k}: {}", lead_with_interval(v.difference, "image"))
        })
        .collect();
    let open: Vec<String> = versus
        .iter()
        .filter(|v| verdict == Verdict::Fails && lead(v) && !certain(v))
        .filter_map(|v| Some(v.points?.to_string()))
        .collect();
    let open = match open.is_empty() {
        true => String::new(),
        false => format!("; ahead but not certain at {}", open.join(", ")),
    };
    let alone = versus.first().map_or_else(String::new, |v| alone(v.images, "image"));
    let sentence = format!(
        "boundary points have a higher IoU than region points at every number of points ({})",
        setting.name()
    );
    Some(Claim {
        sentence,
        verdict,
        evidence: format!("difference at {}{open}{alone}", listed.join(", ")),
    })
}

/// Section 3.2: ten per cent ahead with two clicks, zero-shot.
fn lead_at_two(two: &Versus) -> Claim {
    let d = two.difference;
    Claim {
        sentence: format!(
            "with two points boundary points are {ZERO_SHOT_LEAD:.2} IoU ahead of region points (zero-shot)"
        ),
        verdict: verdict(borne(d, two.images), ZERO_SHOT_LEAD),
        evidence: lead_with_interval(d, "image") + &alone(two.images, "image"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::from_text;
    use super::super::tables::Row;
    use super::*;
    use std::path::Path;

    #[test]
    fn a_claim_fails_where_the_mean_says_the_opposite() {
        let text = "data: [{name: a, test: x}]\npoints: 2\narms: [{name: o, prompt: boundary, card: shipped}, {name: r, \
                    prompt: region, card: shipped}]\n";
        let config = from_text("t", text, Path::new("/")).expect("no fault");
        let versus = |images, points, mean: f64, low| Versus {
            images,
            setting: Setting::ZeroShot,
            set: Some(0),
            arms: [0, 1],
            points: Some(points),
            difference: Interval { mean, range: Some([low, mean + 0.1]) },
            tested: None,
        };
        let row = |images, dice: f64| Row {
            images,
            setting: Setting::ZeroShot,
            set: Some(0),
            arm: 0,
            points: Some(10),
            dice: Interval { mean: dice, range: Some([dice - 0.01, dice]) },
            iou: Interval::default(),
        };
        let claims = |images, one: (f64, f64), two: (f64, f64), dice| {
            let tables = Tables {
                settings: vec![Setting::ZeroShot],
                rows: vec![row(images, dice)],
                versus: vec![versus(images, 1, one.0, one.1), versus(images, 2, two.0, two.1)],
                ..Tables::default()
            };
            judged(&config, &tables)
        };
        let verdicts = |one, two, dice| {
            claims(6, one, two, dice).iter().map(|c| c.verdict).collect::<Vec<_>>()
        };
        use Verdict::{Fails, Holds, NotShown};
        assert_eq!(verdicts((0.1, 0.05), (0.2, 0.15), 0.95), [Holds, Holds, Holds]);
        assert_eq!(verdicts((0.1, -0.05), (0.12, 0.05), 0.905), [NotShown, NotShown, NotShown]);
        assert_eq!(verdicts((-0.1, -0.2), (0.05, 0.01), 0.89), [Fails, Fails, Fails]);
        // Five images show nothing, whatever they show.
        for claim in claims(5, (0.1, 0.05), (0.2, 0.15), 0.95) {
            assert!(claim.verdict == NotShown && claim.evidence.ends_with("of 5 images alone"));
        }
    }
}
