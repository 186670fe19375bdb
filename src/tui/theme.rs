//! Colours by role, loaded from YAML: terminal colours by name or `#rrggbb`.
//!
//! A shipped theme names every role; a person's theme is laid over one of them leaf by leaf.
//! Meaning never rests on colour alone: every mark also has a word or a shape of its own.

use std::collections::BTreeMap;

use ratatui::style::{Color, Modifier, Style};

use crate::config::yaml::{Faults, Kind, Node, parse};
use crate::domain::{nearest_word, shown};

use super::graphics::ColourDepth;
use super::keymap::Layer;

/// Red, green, blue.
pub type Rgb = [u8; 3];

/// Names and texts of the shipped themes.
pub const SHIPPED: [(&str, &str); 3] = [
    ("dark", include_str!("../../themes/dark.yaml")),
    ("light", include_str!("../../themes/light.yaml")),
    ("mono", include_str!("../../themes/mono.yaml")),
];

/// A colour of words, and what it is in the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// What the terminal uses when told nothing.
    Default,
    /// One of the terminal's 16 colours, as in [`NAMES`].
    Named(u8),
    /// An exact colour.
    Rgb(Rgb),
}

/// The terminal's 16 colours and what they are in a picture.
const NAMES: [(&str, Rgb); 16] = [
    ("black", [0, 0, 0]),
    ("red", [205, 49, 49]),
    ("green", [13, 188, 121]),
    ("yellow", [229, 229, 16]),
    ("blue", [36, 114, 200]),
    ("magenta", [188, 63, 188]),
    ("cyan", [17, 168, 205]),
    ("gray", [204, 204, 204]),
    ("dark-gray", [118, 118, 118]),
    ("light-red", [241, 76, 76]),
    ("light-green", [35, 209, 139]),
    ("light-yellow", [245, 245, 67]),
    ("light-blue", [59, 142, 234]),
    ("light-magenta", [214, 112, 214]),
    ("light-cyan", [41, 184, 219]),
    ("white", [255, 255, 255]),
];

impl Colour {
    /// Reads `default`, a name or `#rrggbb`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Colour> {
        if text == "default" {
            return Some(Colour::Default);
        }
        if let Some(at) = NAMES.iter().position(|(name, _)| *name == text) {
            return Some(Colour::Named(at as u8));
        }
        let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.is_ascii())?;
        let part = |i: usize| u8::from_str_radix(&digits[i..i + 2], 16).ok();
        Some(Colour::Rgb([part(0)?, part(2)?, part(4)?]))
    }

    /// For words, on a terminal with so many colours.
    #[must_use]
    pub fn on_text(self, depth: ColourDepth) -> Color {
        match self {
            Colour::Default => Color::Reset,
            Colour::Named(n) => Color::Indexed(n),
            Colour::Rgb(rgb) => depth.colour(rgb),
        }
    }

    /// For the picture; the default is white there.
    #[must_use]
    pub fn in_picture(self) -> Rgb {
        match self {
            Colour::Default => [255, 255, 255],
            Colour::Named(n) => NAMES.get(usize::from(n)).map_or([255; 3], |(_, rgb)| *rgb),
            Colour::Rgb(rgb) => rgb,
        }
    }
}

macro_rules! roles {
    ($($field:ident $doc:literal,)*) => {
        /// Colours by what they are for.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Theme {
            $(#[doc = $doc] pub $field: Colour,)*
            /// Structures, by their colour number; at least one.
            pub tracks: Vec<Colour>,
            /// Whether words have colours at all (`NO_COLOR` takes them away).
            pub coloured: bool,
            /// What colours the terminal has for words; some take exact ones for something else.
            pub depth: ColourDepth,
        }

        /// Every role a theme names, `tracks` aside.
        pub const ROLES: &[&str] = &[$(stringify!($field),)*];

        fn build(mut colours: BTreeMap<String, Colour>, tracks: Vec<Colour>) -> Option<Theme> {
            Some(Theme {
                $($field: colours.remove(stringify!($field))?,)*
                tracks: (!tracks.is_empty()).then_some(tracks)?,
                coloured: true,
                depth: ColourDepth::True,
            })
        }
    };
}

roles! {
    text       "Ordinary words.",
    faint      "Words that may be skipped.",
    title      "Headings and the name of the mode.",
    key        "Keys in the which-key box and the help.",
    good       "Saved, done.",
    alarm      "What needs the person now.",
    cursor     "The crosshair.",
    boundary   "Boundary points.",
    inside     "Inside points.",
    outside    "Outside points.",
    box_       "Boxes.",
    chosen     "The chosen point.",
    stale      "A mask that newer points have outdated.",
    window     "Windows on the timeline.",
    anchor     "Anchors on the timeline.",
    decided    "Decided frames on the timeline.",
    playhead   "The frame at hand on the timeline.",
}

/// Colours read so far.
#[derive(Clone, Debug, Default)]
struct Sheet {
    colours: BTreeMap<String, Colour>,
    tracks: Vec<Colour>,
}

impl Theme {
    /// A shipped theme by name.
    ///
    /// # Errors
    /// The name that was probably meant.
    pub fn shipped(name: &str) -> Result<Theme, String> {
        Theme::layered(name, &[]).map(|(theme, _)| theme)
    }

    /// The shipped theme `base` with `files` laid over it, and all faults. A file with faults is
    /// left out.
    ///
    /// # Errors
    /// When no shipped theme is called `base`.
    pub fn layered(base: &str, files: &[Layer<'_>]) -> Result<(Theme, Vec<Faults>), String> {
        let known = || SHIPPED.iter().map(|(name, _)| *name);
        let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == base) else {
            let meant = nearest_word(base, known()).unwrap_or("dark");
            return Err(format!(
                "no theme is called `{}`; did you mean `{meant}`? Shipped are {}",
                shown(base),
                known().collect::<Vec<_>>().join(", ")
            ));
        };
        let mut sheet = Sheet::default();
        let mut faults = Vec::new();
        let shipped = Layer { name, text };
        for layer in std::iter::once(&shipped).chain(files) {
            match sheet.with(layer) {
                Ok(merged) => sheet = merged,
                Err(found) => faults.push(found),
            }
        }
        let theme = build(sheet.colours, sheet.tracks);
        Ok((theme.expect("shipped themes name every role, kept by a test"), faults))
    }

    /// The same roles without colours in words; the picture keeps white marks.
    #[must_use]
    pub fn without_colours(&self) -> Theme {
        let mut mono = Theme::shipped("mono").unwrap_or_else(|_| self.clone());
        mono.coloured = false;
        mono
    }

    /// The theme with other colours for some structures, by number; red, green, blue.
    #[must_use]
    pub fn with_tracks(mut self, colours: &[Option<Rgb>]) -> Theme {
        if colours.iter().any(Option::is_some) {
            let of = |(i, rgb): (usize, &Option<Rgb>)| rgb.map_or(self.track(i as u8), Colour::Rgb);
            self.tracks = colours.iter().enumerate().map(of).collect();
        }
        self
    }

    /// The theme for a terminal that has these colours for words.
    #[must_use]
    pub fn with_depth(self, depth: ColourDepth) -> Theme {
        Theme { depth, ..self }
    }

    /// Words in a role.
    #[must_use]
    pub fn style(&self, role: Colour) -> Style {
        if self.coloured { Style::new().fg(role.on_text(self.depth)) } else { Style::new() }
    }

    /// Words in a role that also stand out without colour.
    #[must_use]
    pub fn strong(&self, role: Colour) -> Style {
        self.style(role).add_modifier(Modifier::BOLD)
    }

    /// A banner nobody overlooks.
    #[must_use]
    pub fn banner(&self) -> Style {
        self.strong(self.alarm).add_modifier(Modifier::REVERSED)
    }

    /// The colour of a structure.
    #[must_use]
    pub fn track(&self, number: u8) -> Colour {
        self.tracks[usize::from(number) % self.tracks.len().max(1)]
    }
}

impl Sheet {
    fn with(&self, layer: &Layer<'_>) -> Result<Sheet, Faults> {
        let root = parse(layer.name, layer.text)?;
        let mut sheet = self.clone();
        let mut faults = Faults::new(layer.name);
        let Kind::Map(entries) = &root.kind else {
            faults.add(root.line, "is not a mapping of roles to colours");
            return Err(faults);
        };
        for (i, (role, node)) in entries.iter().enumerate() {
            let result = if entries[..i].iter().any(|(earlier, _)| earlier == role) {
                Err(format!("`{}` is set twice", shown(role)))
            } else {
                sheet.set(role, node)
            };
            if let Err(what) = result {
                faults.add(node.line, what);
            }
        }
        faults.or(sheet)
    }

    fn set(&mut self, role: &str, node: &Node) -> Result<(), String> {
        if role == "tracks" {
            let Kind::List(nodes) = &node.kind else {
                return Err("`tracks` must be a list of colours".to_owned());
            };
            let tracks: Result<Vec<Colour>, String> =
                nodes.iter().map(|n| colour(role, n)).collect();
            self.tracks = tracks?;
            return if self.tracks.is_empty() {
                Err("`tracks` needs at least one colour".to_owned())
            } else {
                Ok(())
            };
        }
        // `box` is a word of the language.
        let field = if role == "box" { "box_" } else { role };
        if !ROLES.contains(&field) || role == "box_" {
            let known = ROLES.iter().map(|r| r.trim_end_matches('_')).chain(["tracks"]);
            return Err(match nearest_word(role, known) {
                Some(meant) => format!("`{}` is no role; did you mean `{meant}`?", shown(role)),
                None => format!("`{}` is no role", shown(role)),
            });
        }
        self.colours.insert(field.to_owned(), colour(role, node)?);
        Ok(())
    }
}

fn colour(role: &str, node: &Node) -> Result<Colour, String> {
    let Some(word) = node.kind.word() else {
        // Without quotes # begins a comment.
        return Err(format!(
            "`{role}` must be a colour like \"#e69f00\" (with quotes) or light-blue"
        ));
    };
    Colour::parse(&word).ok_or_else(|| {
        let known = NAMES.iter().map(|(name, _)| *name).chain(["default"]);
        let meant = match nearest_word(&word, known) {
            Some(meant) if !word.starts_with('#') => format!("; did you mean `{meant}`?"),
            _ => " like `#e69f00` or `light-blue`".to_owned(),
        };
        format!("`{role}` is `{}`, not a colour{meant}", shown(&word))
    })
}
