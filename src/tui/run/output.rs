//! Keys, colours and the way to the terminal: from settings and environment.

use std::time::Duration;

use crate::config::yaml::Faults;
use crate::config::{Origin, Settings};
use crate::domain::{FrameIndex, shown};
use crate::tui::graphics::{
    ColourDepth, Grid, Link, Painter, Palette, Protocol, Tone, Viewport, render_halfblocks, reserve,
};
use crate::tui::keymap::{self, Keymap, Layer};
use crate::tui::model::Model;
use crate::tui::terminal::{Capabilities, Screen, TerminalError};
use crate::tui::theme::{self, Theme};
use crate::tui::view::{self, Canvas, Look};

/// What the environment promises about the terminal.
pub(super) struct Environment {
    /// Runs inside tmux.
    pub(super) tmux: bool,
    no_color: Option<String>,
    colorterm: Option<String>,
    term: Option<String>,
    utf8: bool,
}

impl Environment {
    pub(super) fn here() -> Self {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = get("LC_ALL").or_else(|| get("LC_CTYPE")).or_else(|| get("LANG"));
        Self {
            tmux: get("TMUX").is_some(),
            no_color: get("NO_COLOR"),
            colorterm: get("COLORTERM"),
            term: get("TERM"),
            // An unset locale on a server says nothing about the terminal at the other end.
            utf8: locale.is_none_or(|l| {
                let l = l.to_ascii_lowercase();
                l.contains("utf-8") || l.contains("utf8") || l == "c" || l == "posix"
            }),
        }
    }

    fn depth(&self) -> ColourDepth {
        ColourDepth::from_env(
            self.no_color.as_deref(),
            self.colorterm.as_deref(),
            self.term.as_deref(),
        )
    }
}

/// The keys of the settings, and what is wrong with the person's file of them.
#[must_use]
pub fn keymap_of(settings: &Settings) -> (Keymap, Vec<Faults>) {
    let own = settings.keymap_text.as_ref();
    let own = own.map(|held| (shown(&held.path.display().to_string()), held.text.as_str()));
    let named = keymap::shipped_layer(&settings.keymap.value);
    let own = own.as_ref().map(|(name, text)| Layer { name, text });
    Keymap::layered(&named.into_iter().chain(own).collect::<Vec<_>>())
}

/// The theme that is wanted; who named none and changed nothing of it gets one that can be read on this background.
fn theme_name(settings: &Settings, light: bool) -> &str {
    match settings.theme.origin {
        Origin::Default if light && settings.theme_text.is_none() => "light",
        _ => &settings.theme.value,
    }
}

/// Keys and colours for a `light` terminal or a dark one, and sentences about what is wrong with the person's files.
pub(super) fn bindings(
    settings: &Settings,
    environment: &Environment,
    light: bool,
) -> (Keymap, Theme, Vec<String>) {
    let (keymap, mut faults) = keymap_of(settings);
    let own = settings.theme_text.as_ref();
    let own = own.map(|held| (shown(&held.path.display().to_string()), held.text.as_str()));
    let colours: Vec<Layer<'_>> = own.iter().map(|(name, text)| Layer { name, text }).collect();
    let mut sentences = Vec::new();
    let wanted = theme_name(settings, light);
    let base = if colours.is_empty() || theme::SHIPPED.iter().any(|(name, _)| *name == wanted) {
        wanted
    } else {
        "dark"
    };
    let theme = Theme::layered(base, &colours).or_else(|why| {
        sentences.push(why);
        Theme::layered("dark", &[])
    });
    let (theme, more) = theme.expect("the dark theme is shipped, kept by a test");
    faults.extend(more);
    let told: Vec<String> = faults.iter().flat_map(Faults::sentences).collect();
    let n = told.len();
    sentences.extend(told);
    if n > 0 {
        let plural = if n == 1 { "" } else { "s" };
        sentences.push(format!(
            "{n} fault{plural} in your keys or colours: the shipped ones are used, `:messages` tells all"
        ));
    }
    let theme = match environment.no_color {
        Some(_) => theme.without_colours(),
        // Who chose a theme without colours wants none.
        None if wanted == "mono" => theme,
        None => theme.with_tracks(&settings.asked.colours),
    };
    (keymap, theme, sentences)
}

/// How pictures get to the terminal.
pub(super) struct Output {
    theme: Theme,
    ascii: bool,
    /// How pixels are drawn; `None`: half blocks.
    protocol: Option<Protocol>,
    depth: ColourDepth,
    palette: Palette,
    registers: usize,
    /// Of how many grays the palette was to be, and whether with colours.
    asked: (u8, bool),
    /// What the last picture showed: another one is sent whole.
    shown: Option<(FrameIndex, Option<Viewport>, Tone)>,
    /// The terminal's answer takes so long by itself.
    delay: Option<Duration>,
    /// The next picture is another one, sent whole.
    whole: bool,
    /// Bytes of the last such picture, until the line has heard of it.
    sent: Option<usize>,
    pub(super) painter: Painter,
    canvas: Canvas,
}

impl Output {
    pub(super) fn new(
        screen: &Screen,
        settings: &Settings,
        theme: Theme,
        environment: &Environment,
    ) -> Self {
        let capabilities: &Capabilities = screen.capabilities();
        let protocol = match settings.graphics.value.as_str() {
            // A black picture would help nobody.
            _ if capabilities.held_back => None,
            "sixel" => Some(Protocol::Sixel),
            "kitty" => Some(Protocol::Kitty),
            "iterm" => Some(Protocol::Iterm),
            "halfblock" => None,
            _ => capabilities.best(),
        };
        let sixel = protocol == Some(Protocol::Sixel);
        let registers = if sixel { capabilities.registers } else { 256 };
        let levels = Link::by(protocol.unwrap_or_default()).shown.levels;
        let palette = view::palette(&theme, registers, levels, false);
        let depth = environment.depth();
        // Terminals that show pixels take exact colours, whatever the environment forgot on its way here.
        let words = if protocol.is_some() { ColourDepth::True } else { depth };
        Self {
            ascii: !environment.utf8,
            protocol,
            depth,
            palette,
            registers,
            asked: (levels, false),
            shown: None,
            delay: capabilities.round_trip,
            whole: false,
            sent: None,
            painter: Painter::by(protocol.unwrap_or_default(), capabilities.limits()),
            canvas: Canvas::default(),
            theme: theme.with_depth(words),
        }
    }

    /// Half blocks have two pixels in a cell.
    pub(super) fn grid(&self, grid: Grid) -> Grid {
        if self.protocol.is_some() { grid } else { Grid { cell_px: (1, 2), ..grid } }
    }

    /// How text is drawn.
    pub(super) fn look(&self) -> Look<'_> {
        Look { theme: &self.theme, ascii: self.ascii }
    }

    /// The line, of which nothing is known yet.
    pub(super) fn link(&self) -> Link {
        Link::by(self.protocol.unwrap_or_default()).behind(self.delay)
    }

    /// Whether the picture is to be drawn again though nothing changed: it came coarse, or a part of it only.
    pub(super) fn is_unfinished(&self, model: &Model) -> bool {
        let coarse = !self.painter.is_blank() && model.link.is_coarse(model.hurried());
        coarse || self.painter.owes()
    }

    /// Takes as many grays and pixels as the line carries; it is `free` where nothing is on its way.
    pub(super) fn fit_to_line(&mut self, model: &mut Model, free: bool) {
        if self.protocol.is_some() {
            self.fit_to_sender(model, free);
        }
        let levels = if self.protocol.is_some() { model.link.shown.levels } else { self.asked.0 };
        let asked = (levels, model.picture.flow && model.picture.look.colour);
        if std::mem::replace(&mut self.asked, asked) != asked {
            self.palette = view::palette(&self.theme, self.registers, levels, asked.1);
        }
    }

    fn fit_to_sender(&mut self, model: &mut Model, free: bool) {
        if let Some(bytes) = self.sent.take() {
            model.link.sized(bytes);
        }
        let seen = model.pixels().map(|_| {
            let picture = &model.picture;
            (model.frame, picture.viewport, picture.tone())
        });
        // A frame that is still being decoded shows the last one.
        let another = seen.is_some() && std::mem::replace(&mut self.shown, seen) != seen;
        // Nothing lies there: on a line that crawls it comes coarse first as well.
        let bare = seen.is_some() && self.painter.is_blank() && model.link.crawls();
        let hurried = model.hurried();
        model.link.take_up(hurried, another || bare);
        // One piece tells what the line carries. Where its answer did not come, the others follow at once.
        let known = model.link.is_known();
        let piece = model.link.piece().filter(|_| known || !self.painter.owes());
        self.whole = another && piece.is_none();
        // Behind a piece that is on its way only what changed is sent.
        self.painter.cut(piece.map(|bytes| if free || !known { bytes } else { 0 }));
    }

    pub(super) fn draw(&mut self, screen: &mut Screen, model: &Model) -> Result<(), TerminalError> {
        let pixels = self.protocol.is_some();
        let mark_px = if pixels { (model.grid.cell_px.0 / 2).max(3) } else { 1 };
        let picture = self.canvas.compose(model, &self.palette, mark_px);
        let look = Look { theme: &self.theme, ascii: self.ascii };
        let mut area = None;
        let (depth, palette) = (self.depth, &self.palette);
        let letters = self.canvas.letters();
        screen.draw(|frame| {
            area = view::draw(frame, model, look);
            match (area, &picture) {
                (Some(area), _) if pixels => reserve(frame.buffer_mut(), area),
                (Some(area), Some(picture)) => {
                    render_halfblocks(picture, palette, depth, area, frame.buffer_mut());
                    view::draw_letters(letters, area, frame.buffer_mut(), look);
                }
                _ => {}
            }
        })?;
        let sixels = match (area, picture) {
            (Some(area), Some(picture)) if pixels => {
                self.painter.paint(picture, &self.palette, model.grid, area, &[])
            }
            _ => {
                // Text lies where the picture was.
                self.painter.take_away()
            }
        };
        let bytes: usize = sixels.iter().map(|sixel| sixel.bytes.len()).sum();
        self.sent = (self.whole && bytes > 0).then_some(bytes);
        screen.present(&sixels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    #[test]
    fn a_light_terminal_has_the_light_theme_unless_the_person_says_another() {
        let home = tempfile::tempdir().expect("a folder");
        let named = |theme: Option<&str>, light: bool| {
            let flags = Flags { theme: theme.map(str::to_owned), ..Flags::default() };
            let env = |name: &str| -> Option<std::ffi::OsString> {
                (name == "HOME").then(|| home.path().into())
            };
            let settings = Settings::load_with(&flags, &env).expect("no fault");
            theme_name(&settings, light).to_owned()
        };
        assert_eq!([named(None, false), named(None, true)], ["dark", "light"]);
        assert_eq!([named(Some("dark"), true), named(Some("mono"), true)], ["dark", "mono"]);
        // Colours of one's own are laid over the dark theme.
        let own = home.path().join(".config/sonomark/themes");
        std::fs::create_dir_all(&own).expect("created");
        std::fs::write(own.join("dark.yaml"), "alarm: red\n").expect("written");
        assert_eq!(named(None, true), "dark");
    }
}
