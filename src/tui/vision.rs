//! Whether people tell colours apart, with every common kind of colour vision, and from the gray of
//! speckle.

use crate::config::schema::Schema;
use crate::domain::shown;

use super::theme::{Rgb, Theme};

/// Colours so far apart are told apart: distance in CIE L*a*b* (just seen side by side: about 2).
pub const ENOUGH: f64 = 15.0;
/// Middle grays: speckle.
pub const SPECKLE: [u8; 5] = [96, 112, 128, 144, 160];

/// Linear RGB as people see it: with the usual vision, and without the red, green or blue cones
/// (Machado et al. 2009, severity 1).
const VISION: [[[f64; 3]; 3]; 4] = [
    [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    [
        [0.152_286, 1.052_583, -0.204_868],
        [0.114_503, 0.786_281, 0.099_216],
        [-0.003_882, -0.048_116, 1.051_998],
    ],
    [
        [0.367_322, 0.860_646, -0.227_968],
        [0.280_085, 0.672_501, 0.047_413],
        [-0.011_820, 0.042_940, 0.968_881],
    ],
    [
        [1.255_528, -0.076_749, -0.178_779],
        [-0.078_411, 0.930_809, 0.147_602],
        [0.004_733, 0.691_367, 0.303_900],
    ],
];

/// How far apart two colours are for whoever sees the least difference; 0 the same, 100 black and
/// white.
#[must_use]
pub fn apart(a: Rgb, b: Rgb) -> f64 {
    let of = |vision: &[[f64; 3]; 3]| {
        let (a, b) = (lab(a, vision), lab(b, vision));
        a.iter().zip(b).map(|(p, q)| (p - q).powi(2)).sum::<f64>().sqrt()
    };
    VISION.iter().map(of).fold(f64::INFINITY, f64::min)
}

/// How far a colour is from the gray of speckle that is nearest to it.
#[must_use]
pub fn from_speckle(colour: Rgb) -> f64 {
    SPECKLE.iter().map(|gray| apart(colour, [*gray; 3])).fold(f64::INFINITY, f64::min)
}

/// CIE L*a*b* of a colour seen through `vision`.
fn lab(rgb: Rgb, vision: &[[f64; 3]; 3]) -> [f64; 3] {
    let linear = rgb.map(|c| {
        let c = f64::from(c) / 255.0;
        if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    });
    let seen =
        vision.map(|row| row.iter().zip(linear).map(|(a, b)| a * b).sum::<f64>().clamp(0.0, 1.0));
    let xyz = [
        (0.4124 * seen[0] + 0.3576 * seen[1] + 0.1805 * seen[2]) / 0.9505,
        0.2126 * seen[0] + 0.7152 * seen[1] + 0.0722 * seen[2],
        (0.0193 * seen[0] + 0.1192 * seen[1] + 0.9505 * seen[2]) / 1.089,
    ];
    let [x, y, z] = xyz.map(|t| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// Sentences about colours of the schema that not everybody tells from another label's, or from
/// speckle. Labels that share a colour are left alone: somebody wants that.
#[must_use]
pub fn confusions(schema: &Schema, theme: &Theme) -> Vec<String> {
    let own = |number: u8| schema.colours[usize::from(number) % schema.colours.len()].is_some();
    let colour = |number: u8| theme.track(number).in_picture();
    let mut told = Vec::new();
    for (i, label) in schema.labels.iter().enumerate() {
        let name = shown(&label.name);
        if own(label.colour) && from_speckle(colour(label.colour)) < ENOUGH {
            told.push(format!(
                "schema: the colour of {name} is hard to tell from speckle; choose a brighter or fuller one"
            ));
        }
        for other in &schema.labels[i + 1..] {
            let asked = own(label.colour) || own(other.colour);
            let (a, b) = (colour(label.colour), colour(other.colour));
            if asked && label.colour != other.colour && apart(a, b) < ENOUGH {
                told.push(format!(
                    "schema: not everybody can tell the colours of {name} and {} apart; choose others",
                    shown(&other.name)
                ));
            }
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn red_and_green_are_near_for_some_and_labels_in_them_are_told() {
        assert!((apart([0; 3], [255; 3]) - 100.0).abs() < 0.5);
        let (red, green) = ([160, 90, 30], [100, 120, 40]);
        assert!(apart(red, green) < ENOUGH && from_speckle([120; 3]) < 5.0);
        let text = "labels:\n  - {name: a, colour: \"#a05a1e\"}\n  - {name: b, colour: \"#647828\"}\n  \
                    - {name: c, colour: \"#808080\"}\n  - {name: d, colour: \"#a05a1e\"}\n  - e\n";
        let schema = Schema::read("s", text).expect("no fault");
        let theme = Theme::shipped("dark").expect("shipped").with_tracks(&schema.colours);
        let told = confusions(&schema, &theme);
        let wanted = ["a and b apart", "b is hard", "b and c apart", "b and d apart", "c is hard"];
        assert_eq!(told.len(), wanted.len(), "{told:#?}");
        assert!(told.iter().zip(wanted).all(|(told, part)| told.contains(part)), "{told:#?}");
        assert!(confusions(&Schema::default(), &theme).is_empty());
    }
}
