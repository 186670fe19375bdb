//! What has to be sent: the changed cells of a picture as opaque sixel rectangles.
//!
//! The one portable partial redraw is an opaque, fully painted rectangle of whole text cells
//! (mlterm erases what lies under transparent sixels). Changed cells are gathered to rectangles
//! so that pixels sent in vain weigh less than another sixel header with its palette.

use ratatui::buffer::{Buffer, CellDiffOption};
use ratatui::layout::Rect;

use super::kitty::Pile;
use super::{Palette, Picture, RectPx, iterm, sixel};

/// Bytes that another rectangle costs beside its pixels (header, palette), in pixels.
const RECTANGLE_COST_PX: usize = 512;
/// Longest sixel, bytes: tmux drops what reaches 1 MiB.
const MAX_SIXEL_BYTES: usize = 900_000;
/// Rows of cells in a part of a picture that is sent in pieces: whole bands of sixels where a cell's height is even.
const STRIP_ROWS: usize = 3;
/// What changed just now is sent beside a piece, up to so many bytes: a cursor does not wait for it.
const CHANGES_BYTES: usize = 8 * 1024;

/// What the terminal can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Widest sixel, px (xterm drops wider ones without a word).
    pub max_width_px: usize,
    /// Highest sixel, px.
    pub max_height_px: usize,
}

impl Default for Limits {
    /// xterm's default of 1000 x 1000 px.
    fn default() -> Self {
        Self { max_width_px: 1000, max_height_px: 1000 }
    }
}

/// The text cells of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Columns of the terminal.
    pub columns: u16,
    /// Rows of the terminal.
    pub rows: u16,
    /// Width and height of a cell, px.
    pub cell_px: (u16, u16),
}

/// How pixels reach the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Sixels, the reference.
    #[default]
    Sixel,
    /// Kitty's images.
    Kitty,
    /// iTerm2's inline images.
    Iterm,
}

/// A rectangle of text cells, from the top left corner of the terminal.
pub type CellArea = Rect;

/// A picture and the cell of its top left corner (from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedSixel {
    /// Column, from 0.
    pub column: u16,
    /// Row, from 0.
    pub row: u16,
    /// The control sequences: of a sixel, `ESC P` to `ESC \`.
    pub bytes: Vec<u8>,
}

/// Marks the cells of a picture, so that ratatui never writes over it. Call while drawing.
pub fn reserve(buffer: &mut Buffer, area: CellArea) {
    set_option(buffer, area, CellDiffOption::Skip);
}

/// Marks cells of text that lies over a picture, so that ratatui writes them anew. Call after
/// drawing the text, and name the same area to [`Painter::paint`].
pub fn cover(buffer: &mut Buffer, area: CellArea) {
    set_option(buffer, area, CellDiffOption::AlwaysUpdate);
}

fn set_option(buffer: &mut Buffer, area: CellArea, option: CellDiffOption) {
    for position in area.intersection(buffer.area).positions() {
        buffer[position].set_diff_option(option);
    }
}

/// Knows what is shown and sends the difference.
///
/// ```text
/// let sixels = painter.paint(picture, &palette, grid, area, &covered);
/// screen.present(&sixels)?;
/// ```
#[derive(Debug, Default)]
pub struct Painter {
    limits: Limits,
    protocol: Protocol,
    pile: Pile,
    shown: Option<Shown>,
    /// Bytes that one call sends, about; `None`: all there are.
    piece: Option<usize>,
}

#[derive(Debug)]
struct Shown {
    picture: Picture,
    palette: Palette,
    grid: Grid,
    area: CellArea,
    /// Cells whose content on the screen is not that of `picture`.
    lost: Vec<bool>,
    /// Cells of `picture` that wait for the next piece.
    owed: Vec<bool>,
}

impl Painter {
    /// A painter that has shown nothing yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// The same by another protocol; only sixels have limits.
    #[must_use]
    pub fn by(protocol: Protocol, limits: Limits) -> Self {
        let endless = Limits { max_width_px: usize::MAX, max_height_px: usize::MAX };
        let limits = if protocol == Protocol::Sixel { limits } else { endless };
        Self { limits, protocol, ..Self::default() }
    }

    /// No picture is shown any more, as text takes its place: what is to be sent for that.
    pub fn take_away(&mut self) -> Vec<PlacedSixel> {
        self.shown = None;
        let bytes = self.pile.clear();
        if bytes.is_empty() { Vec::new() } else { vec![PlacedSixel { column: 0, row: 0, bytes }] }
    }

    /// From now on a picture is sent in pieces of about so many bytes, one with every call of [`Painter::paint`]: what
    /// changed since the last call first, then from top to bottom what that left. `None`: all at once.
    pub fn cut(&mut self, piece: Option<usize>) {
        self.piece = piece;
    }

    /// Whether a part of the picture was not sent yet: it is to be painted again.
    #[must_use]
    pub fn owes(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.owed.contains(&true))
    }

    /// Whether nothing is known to be shown.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.shown.is_none()
    }

    /// Forgets what is shown: after a resize, a clear, a suspend. The next picture is sent whole.
    pub fn damage_all(&mut self) {
        self.shown = None;
    }

    /// Marks cells whose picture was destroyed by something else.
    pub fn damage(&mut self, cells: CellArea) {
        if let Some(shown) = &mut self.shown {
            let columns = shown.area.width as usize;
            for position in cells.intersection(shown.area).positions() {
                let (x, y) = (position.x - shown.area.x, position.y - shown.area.y);
                shown.lost[y as usize * columns + x as usize] = true;
            }
        }
    }

    /// The sixels that turn what is shown into `picture`, whose top left corner lies at that of
    /// `area`; the caller sends all of them. Cells in `covered` (text over the picture) are left
    /// alone and sent when they are no longer covered. `area` never reaches the last row of the
    /// terminal (a picture there scrolls it), and what of `picture` is outside it is not shown.
    pub fn paint(
        &mut self,
        picture: Picture,
        palette: &Palette,
        grid: Grid,
        area: CellArea,
        covered: &[CellArea],
    ) -> Vec<PlacedSixel> {
        let allowed = Rect::new(0, 0, grid.columns, grid.rows.saturating_sub(1));
        let area = area.intersection(allowed);
        let tiles = Tiles::new(grid, area, &picture);
        if tiles.is_empty() {
            self.shown = None;
            return Vec::new();
        }
        let high = self.pile.is_high();
        let piece = self.piece.filter(|_| !high);
        let there = self.shown.take().filter(|old| {
            (old.grid, old.area) == (grid, area)
                && (old.picture.width_px, old.picture.height_px)
                    == (picture.width_px, picture.height_px)
        });
        // Pieces cover what lies there one by one; it does not go black for them.
        let stays = piece.is_some() && there.is_some();
        let old = there.filter(|old| !high && old.palette == *palette);
        let mut changed = tiles.changed(old.as_ref(), &picture);
        let none = vec![false; changed.len()];
        let mut owed = old.as_ref().map_or_else(|| none.clone(), |old| old.owed.clone());
        let mut lost = none;
        for (at, position) in area.positions().enumerate() {
            if covered.iter().any(|text| text.contains(position)) {
                (changed[at], owed[at]) = (false, false);
            }
            owed[at] &= !changed[at];
        }
        for text in covered {
            for position in text.intersection(area).positions() {
                let (x, y) = (position.x - area.x, position.y - area.y);
                lost[y as usize * area.width as usize + x as usize] = true;
            }
        }
        let blocked: Vec<RectPx> =
            covered.iter().filter_map(|text| tiles.pixels_of(*text)).collect();
        // What lies elsewhere, or is from before a resize, would stay for ever.
        let mut sixels = if old.is_none() && !stays { self.take_away() } else { Vec::new() };
        let (mut sent, mut left) = (0, vec![false; lost.len()]);
        for (cells, most) in [(changed, piece.map(|most| most.max(CHANGES_BYTES))), (owed, piece)] {
            let rectangles = tiles.gathered(&cells, &blocked, &picture);
            for part in rectangles.into_iter().flat_map(|area| tiles.strips(area, most.is_some())) {
                if most.is_some_and(|most| sent >= most) {
                    tiles.mark(part, &mut left);
                    continue;
                }
                let before = sixels.len();
                self.send(&tiles, part, &picture, palette, &mut sixels);
                sent += sixels[before..].iter().map(|each| each.bytes.len()).sum::<usize>();
            }
        }
        let palette = palette.clone();
        self.shown = Some(Shown { picture, palette, grid, area, lost, owed: left });
        sixels
    }

    /// Encodes one rectangle, cut into what the terminal takes.
    fn send(
        &mut self,
        tiles: &Tiles,
        area: RectPx,
        picture: &Picture,
        palette: &Palette,
        out: &mut Vec<PlacedSixel>,
    ) {
        let whole = |limit: usize, cell: usize| (limit / cell * cell).max(cell);
        let max_width = whole(self.limits.max_width_px, tiles.cell.0);
        let max_height = whole(self.limits.max_height_px, tiles.cell.1);
        let half = |length: usize, cell: usize| whole(length / 2, cell);
        let cut = if area.width > max_width {
            Some((max_width, area.height))
        } else if area.height > max_height {
            Some((area.width, max_height))
        } else {
            let part = picture.crop(area);
            let bytes = match self.protocol {
                Protocol::Sixel => sixel::encode(&part, palette),
                Protocol::Kitty => self.pile.put(&part, area, palette),
                Protocol::Iterm => iterm::encode(&part, palette, tiles.cell),
            };
            let fits = bytes.len() < MAX_SIXEL_BYTES || area.height <= tiles.cell.1;
            if fits || self.protocol == Protocol::Kitty {
                out.push(tiles.placed(area, bytes));
                return;
            }
            Some((area.width, half(area.height, tiles.cell.1)))
        };
        if let Some((width, height)) = cut {
            let first = RectPx { width, height, ..area };
            let rest = if width < area.width {
                RectPx { x: area.x + width, width: area.width - width, ..area }
            } else {
                RectPx { y: area.y + height, height: area.height - height, ..area }
            };
            self.send(tiles, first, picture, palette, out);
            self.send(tiles, rest, picture, palette, out);
        }
    }
}

/// The cells of a picture.
struct Tiles {
    area: CellArea,
    cell: (usize, usize),
    /// Size of the part of the picture that lies in the area, px.
    size: (usize, usize),
}

impl Tiles {
    fn new(grid: Grid, area: CellArea, picture: &Picture) -> Self {
        let cell = (usize::from(grid.cell_px.0.max(1)), usize::from(grid.cell_px.1.max(1)));
        let width = picture.width_px.min(area.width as usize * cell.0);
        let height = picture.height_px.min(area.height as usize * cell.1);
        Self { area, cell, size: (width, height) }
    }

    fn is_empty(&self) -> bool {
        self.size.0 == 0 || self.size.1 == 0
    }

    /// Pixels of a cell, or `None` where the picture does not reach.
    fn tile(&self, column: usize, row: usize) -> Option<RectPx> {
        let (x, y) = (column * self.cell.0, row * self.cell.1);
        (x < self.size.0 && y < self.size.1).then(|| RectPx {
            x,
            y,
            width: self.cell.0.min(self.size.0 - x),
            height: self.cell.1.min(self.size.1 - y),
        })
    }

    /// A rectangle of whole cells cut into strips, or as it is.
    fn strips(&self, area: RectPx, cut: bool) -> Vec<RectPx> {
        let high = if cut { STRIP_ROWS * self.cell.1 } else { area.height.max(1) };
        let strip =
            |from: usize| RectPx { y: area.y + from, height: high.min(area.height - from), ..area };
        (0..area.height).step_by(high).map(strip).collect()
    }

    /// Sets the flags of the cells in a rectangle.
    fn mark(&self, area: RectPx, flags: &mut [bool]) {
        let columns = area.x / self.cell.0..(area.x + area.width).div_ceil(self.cell.0);
        for row in area.y / self.cell.1..(area.y + area.height).div_ceil(self.cell.1) {
            let first = row * self.area.width as usize;
            flags[first + columns.start..first + columns.end].fill(true);
        }
    }

    /// Pixels of the picture beneath an area of cells.
    fn pixels_of(&self, cells: CellArea) -> Option<RectPx> {
        let cells = cells.intersection(self.area);
        let (column, row) = ((cells.x - self.area.x) as usize, (cells.y - self.area.y) as usize);
        (cells.area() > 0).then(|| RectPx {
            x: column * self.cell.0,
            y: row * self.cell.1,
            width: cells.width as usize * self.cell.0,
            height: cells.height as usize * self.cell.1,
        })
    }

    fn placed(&self, at: RectPx, bytes: Vec<u8>) -> PlacedSixel {
        PlacedSixel {
            column: self.area.x + (at.x / self.cell.0) as u16,
            row: self.area.y + (at.y / self.cell.1) as u16,
            bytes,
        }
    }

    /// A flag per cell of the area: its pixels differ from what is shown.
    fn changed(&self, old: Option<&Shown>, new: &Picture) -> Vec<bool> {
        let (columns, rows) = (self.area.width as usize, self.area.height as usize);
        let mut changed = Vec::with_capacity(columns * rows);
        for row in 0..rows {
            for column in 0..columns {
                let Some(tile) = self.tile(column, row) else {
                    changed.push(false);
                    continue;
                };
                let differs = old.is_none_or(|old| {
                    let span = tile.x..tile.x + tile.width;
                    old.lost[row * columns + column]
                        || (tile.y..tile.y + tile.height)
                            .any(|y| old.picture.row(y)[span.clone()] != new.row(y)[span.clone()])
                });
                changed.push(differs);
            }
        }
        changed
    }

    /// Changed cells as few rectangles: runs of each row, joined with earlier ones wherever that
    /// is cheaper than another sixel and does not paint over `blocked`.
    fn gathered(&self, changed: &[bool], blocked: &[RectPx], picture: &Picture) -> Vec<RectPx> {
        let columns = self.area.width as usize;
        let mut found: Vec<RectPx> = Vec::new();
        for (row, flags) in changed.chunks_exact(columns.max(1)).enumerate() {
            for column in (0..columns).filter(|&column| flags[column]) {
                let Some(tile) = self.tile(column, row) else {
                    continue;
                };
                match found
                    .last_mut()
                    .filter(|last| last.y == tile.y && last.x + last.width == tile.x)
                {
                    Some(last) => last.width += tile.width,
                    None => found.push(tile),
                }
            }
        }
        if found.len() < 2 {
            return found;
        }
        joined(found, blocked, &Worth::of(self, picture))
    }
}

/// What sending a part of the picture costs, in px: cells of one colour cost next to nothing.
struct Worth {
    cell: (usize, usize),
    columns: usize,
    /// Sums over all cells above and to the left, one row and column more than there are cells.
    sums: Vec<usize>,
}

impl Worth {
    fn of(tiles: &Tiles, picture: &Picture) -> Self {
        let (columns, rows) = (tiles.area.width as usize, tiles.area.height as usize);
        let mut sums = vec![0; (columns + 1) * (rows + 1)];
        for row in 0..rows {
            let mut line = 0;
            for column in 0..columns {
                line += tiles.tile(column, row).map_or(0, |tile| {
                    let first = picture.row(tile.y)[tile.x];
                    let flat = (tile.y..tile.y + tile.height).all(|y| {
                        picture.row(y)[tile.x..tile.x + tile.width].iter().all(|&i| i == first)
                    });
                    if flat { 0 } else { tile.area() }
                });
                let above = sums[row * (columns + 1) + column + 1];
                sums[(row + 1) * (columns + 1) + column + 1] = above + line;
            }
        }
        Self { cell: tiles.cell, columns, sums }
    }

    fn of_rectangle(&self, area: &RectPx) -> usize {
        let (left, top) = (area.x / self.cell.0, area.y / self.cell.1);
        let right = (area.x + area.width).div_ceil(self.cell.0);
        let bottom = (area.y + area.height).div_ceil(self.cell.1);
        let at = |row: usize, column: usize| self.sums[row * (self.columns + 1) + column];
        (at(bottom, right) + at(top, left)) - (at(top, right) + at(bottom, left))
    }
}

/// Joins rectangles while that saves more than it costs. Rows come in order, so a rectangle is
/// only compared with the few before it that can still touch it.
fn joined(runs: Vec<RectPx>, blocked: &[RectPx], worth: &Worth) -> Vec<RectPx> {
    const LOOK_BACK: usize = 16;
    let gain = |a: &RectPx, b: &RectPx| {
        let union = a.union(b);
        let free = !blocked.iter().any(|text| text.intersects(&union));
        let apart = worth.of_rectangle(a) + worth.of_rectangle(b) + RECTANGLE_COST_PX;
        free.then(|| apart.checked_sub(worth.of_rectangle(&union))).flatten()
    };
    let mut rectangles = runs;
    loop {
        let before = rectangles.len();
        let mut done: Vec<RectPx> = Vec::with_capacity(before);
        for next in rectangles {
            let from = done.len().saturating_sub(LOOK_BACK);
            let best =
                (from..done.len()).max_by_key(|&i| gain(&done[i], &next).map_or(0, |g| g + 1));
            match best.filter(|&i| gain(&done[i], &next).is_some()) {
                Some(i) => done[i] = done[i].union(&next),
                None => done.push(next),
            }
        }
        rectangles = done;
        if rectangles.len() == before {
            return without_overlap(rectangles);
        }
    }
}

/// Joined rectangles may have grown into others; those are swallowed where they lie inside.
fn without_overlap(rectangles: Vec<RectPx>) -> Vec<RectPx> {
    let inside = |a: &RectPx, b: &RectPx| a.union(b) == *b;
    let mut kept: Vec<RectPx> = Vec::with_capacity(rectangles.len());
    for (i, each) in rectangles.iter().enumerate() {
        let later_twin = |j: usize, other: &RectPx| inside(each, other) && (each != other || j < i);
        if !rectangles.iter().enumerate().any(|(j, other)| j != i && later_twin(j, other)) {
            kept.push(*each);
        }
    }
    kept
}
