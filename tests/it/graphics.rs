//! Pictures as a terminal decodes them: exactness, grammar, damage, byte budgets.

use std::collections::HashSet;

use ratatui::layout::Rect;
use sonomark::domain::{Bitmap, BoxPx, GrayFrame, PointKind, PointPx};
use sonomark::tui::graphics::{
    BoxMark, Colour, Crosshair, FINEST, Grid, Limits, LineMark, MaskLayer, MaskStyle, Painter,
    Palette, Picture, PlacedSixel, PointMark, Protocol, Scene, Tone, Viewport, bench_rows, compose,
    sixel, synthetic_frame,
};

const GRID: Grid = Grid { columns: 160, rows: 60, cell_px: (8, 16) };
/// 1024 x 768 px in cells of 8 x 16.
const AREA: Rect = Rect { x: 3, y: 1, width: 128, height: 48 };

fn palette(levels: u8) -> Palette {
    let overlay = [[100, 80, 0], [0, 80, 100], [100, 20, 20], [20, 100, 20]];
    Palette::new(levels, &overlay, 2, 256)
}

/// The picture as RGBA by an independent decoder, cut to the size in the raster attributes; what
/// the decoder adds to fill its last band must be unpainted.
fn decoded(bytes: &[u8]) -> (usize, usize, Vec<u8>) {
    let image = icy_sixel::SixelImage::decode(bytes).expect("a valid sixel");
    let text = String::from_utf8_lossy(&bytes[..40.min(bytes.len())]).into_owned();
    let size = text.split_once("\"1;1;").expect("raster attributes").1;
    let mut numbers =
        size.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<usize>().unwrap());
    let (width, height) = (numbers.next().unwrap(), numbers.next().unwrap());
    assert!(image.width == width && (height..height + 6).contains(&image.height), "{text}");
    let mut pixels = image.pixels;
    let added = pixels.split_off(width * height * 4);
    assert!(added.chunks_exact(4).all(|pixel| pixel[3] == 0), "painted below the picture");
    (width, height, pixels)
}

fn rgba(picture: &Picture, palette: &Palette) -> Vec<u8> {
    let rgba = |&index: &u8| {
        let [r, g, b] = palette.rgb(index);
        [r, g, b, 255]
    };
    picture.indices.iter().flat_map(rgba).collect()
}

fn assert_exact(picture: &Picture, palette: &Palette) {
    let bytes = sixel::encode(picture, palette);
    assert_grammar(&bytes);
    let (width, height, pixels) = decoded(&bytes);
    assert_eq!((width, height), (picture.width_px, picture.height_px));
    let wrong =
        pixels.iter().zip(rgba(picture, palette)).filter(|(a, b)| a.abs_diff(*b) > 1).count();
    assert_eq!(wrong, 0, "{width} x {height} px");
}

/// `ESC P 0;1;0 q "1;1;W;H` and then only sixel characters up to the one `ESC \`.
fn assert_grammar(bytes: &[u8]) {
    let body = bytes.strip_prefix(b"\x1bP0;1;0q\"1;1;").expect("header");
    let body = body.strip_suffix(b"\x1b\\").expect("terminator");
    let allowed =
        |&byte: &u8| matches!(byte, b'0'..=b'9' | b';' | b'#' | b'!' | b'$' | b'-' | b'?'..=b'~');
    assert!(body.iter().all(allowed));
    assert!(!body.ends_with(b"-") && !body.ends_with(b"$"));
}

fn random_picture(
    random: &mut fastrand::Rng,
    palette: &Palette,
    width: usize,
    height: usize,
) -> Picture {
    let registers = palette.registers().len();
    // Runs, noise and few colours in turn: each takes another way through the encoder.
    let (longest, colours) = (random.usize(1..9), random.usize(1..=registers));
    let mut indices = Vec::with_capacity(width * height);
    while indices.len() < width * height {
        let value = random.usize(0..colours) as u8;
        let length = random.usize(1..=longest).min(width * height - indices.len());
        indices.extend(std::iter::repeat_n(value, length));
    }
    Picture { width_px: width, height_px: height, indices }
}

#[test]
fn every_small_size_decodes_to_itself() {
    let mut random = fastrand::Rng::with_seed(1);
    for width in 1..=20 {
        for height in 1..=20 {
            let levels = [2, 16, 32, 64, 101][random.usize(0..5)];
            let palette = palette(levels);
            assert_exact(&random_picture(&mut random, &palette, width, height), &palette);
        }
    }
}

#[test]
fn odd_sizes_and_all_registers_decode_to_themselves() {
    let mut random = fastrand::Rng::with_seed(2);
    let palette = palette(101);
    assert!(palette.registers().len() > 160);
    for _ in 0..30 {
        let (width, height) = (random.usize(1..400), random.usize(1..90));
        assert_exact(&random_picture(&mut random, &palette, width, height), &palette);
    }
}

#[test]
fn the_stream_keeps_to_the_grammar() {
    let mut random = fastrand::Rng::with_seed(3);
    let palette = palette(32);
    for _ in 0..2_000 {
        let (width, height) = (random.usize(1..40), random.usize(1..30));
        assert_grammar(&sixel::encode(
            &random_picture(&mut random, &palette, width, height),
            &palette,
        ));
    }
    assert!(sixel::encode(&Picture::filled(0, 5, 0), &palette).is_empty());
    let broken = Picture { width_px: 3, height_px: 3, indices: vec![0; 8] };
    assert!(sixel::encode(&broken, &palette).is_empty(), "a short buffer is not read past its end");
}

fn speckle() -> GrayFrame {
    synthetic_frame(1024, 768, 7)
}

fn scene(frame: &GrayFrame) -> Scene<'_> {
    let (width, height) = (AREA.width as usize * 8, AREA.height as usize * 16);
    Scene::new(Some(frame), Viewport::fit(frame.width_px, frame.height_px, width, height))
}

/// What a terminal shows after some sixels: decoded and put at their cells.
struct Canvas {
    width: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new() -> Self {
        let width = GRID.columns as usize * 8;
        Self { width, pixels: vec![0; width * GRID.rows as usize * 16 * 4] }
    }

    fn show(&mut self, sixels: &[PlacedSixel]) {
        for placed in sixels {
            let (width, height, pixels) = decoded(&placed.bytes);
            let (x, y) = (placed.column as usize * 8, placed.row as usize * 16);
            assert!(y + height <= (GRID.rows as usize - 1) * 16, "the last row stays free");
            for row in 0..height {
                let at = ((y + row) * self.width + x) * 4;
                let line = &pixels[row * width * 4..(row + 1) * width * 4];
                assert!(
                    line.chunks_exact(4).all(|pixel| pixel[3] == 255),
                    "every pixel is painted"
                );
                self.pixels[at..at + width * 4].copy_from_slice(line);
            }
        }
    }

    fn shows(&self, picture: &Picture, palette: &Palette, area: Rect) -> bool {
        let wanted = rgba(picture, palette);
        (0..picture.height_px).all(|y| {
            let at = ((area.y as usize * 16 + y) * self.width + area.x as usize * 8) * 4;
            let line = &wanted[y * picture.width_px * 4..(y + 1) * picture.width_px * 4];
            let shown = &self.pixels[at..at + picture.width_px * 4];
            shown.iter().zip(line).all(|(a, b)| a.abs_diff(*b) <= 1)
        })
    }
}

fn total(sixels: &[PlacedSixel]) -> usize {
    sixels.iter().map(|sixel| sixel.bytes.len()).sum()
}

#[test]
fn a_full_frame_keeps_to_its_budget_and_arrives_exactly() {
    let (frame, palette) = (speckle(), palette(32));
    let picture = compose(&scene(&frame), &palette);
    let mut painter = Painter::new(Limits::default());
    let sixels = painter.paint(picture.clone(), &palette, GRID, AREA, &[]);
    println!("full frame: {} bytes in {} sixels", total(&sixels), sixels.len());
    assert!(total(&sixels) <= 420_000, "{}", total(&sixels));
    assert!(sixels.len() >= 2, "wider than 1000 px, so it is cut");
    let mut canvas = Canvas::new();
    canvas.show(&sixels);
    assert!(canvas.shows(&picture, &palette, AREA));
    assert!(painter.paint(picture, &palette, GRID, AREA, &[]).is_empty(), "nothing changed");
}

#[test]
fn cursor_moves_and_points_keep_to_their_budgets() {
    let (frame, palette) = (speckle(), palette(32));
    let mut scene = scene(&frame);
    let mut painter = Painter::new(Limits::default());
    let mut canvas = Canvas::new();
    let at = |x: f32, y: f32| Some(Crosshair { at: PointPx::new(x, y), colour: Colour(0) });
    scene.crosshair = at(500.0, 300.0);
    canvas.show(&painter.paint(compose(&scene, &palette), &palette, GRID, AREA, &[]));
    let mut largest = 0;
    for (x, y) in [(501.0, 300.0), (509.0, 316.0), (420.0, 500.0), (421.0, 500.0), (640.0, 250.0)] {
        scene.crosshair = at(x, y);
        let picture = compose(&scene, &palette);
        let sixels = painter.paint(picture.clone(), &palette, GRID, AREA, &[]);
        largest = largest.max(total(&sixels));
        canvas.show(&sixels);
        assert!(canvas.shows(&picture, &palette, AREA), "{x} {y}");
    }
    // A step of one px, where the speckle is thick.
    let mut tile = 0;
    for i in 0..20u8 {
        let (x, y) = (300.0 + f32::from(i) * 17.0, 250.0 + f32::from(i) * 13.0);
        scene.crosshair = at(x, y);
        painter.paint(compose(&scene, &palette), &palette, GRID, AREA, &[]);
        scene.crosshair = at(x + 1.0, y);
        let sixels = painter.paint(compose(&scene, &palette), &palette, GRID, AREA, &[]);
        tile = sixels.iter().map(|sixel| sixel.bytes.len()).fold(tile, usize::max);
    }
    println!("largest cursor move: {largest} bytes, largest tile of a step: {tile}");
    assert!(largest <= 6_000 && tile <= 2_000, "{largest} {tile}");
    scene.points.push(PointMark {
        at: PointPx::new(500.0, 420.0),
        kind: PointKind::Boundary,
        colour: Colour(2),
        chosen: true,
    });
    let sixels = painter.paint(compose(&scene, &palette), &palette, GRID, AREA, &[]);
    println!("point: {} bytes", total(&sixels));
    assert!(total(&sixels) > 0 && total(&sixels) <= 3_000, "{}", total(&sixels));
}

#[test]
fn a_picture_in_pieces_arrives_whole_and_a_cursor_overtakes_it() {
    let frame = speckle();
    let mut scene = scene(&frame);
    let at = |x: f32, y: f32| Some(Crosshair { at: PointPx::new(x, y), colour: Colour(0) });
    scene.crosshair = at(500.0, 300.0);
    let mut painter = Painter::new(Limits { max_width_px: 4096, max_height_px: 4096 });
    let mut canvas = Canvas::new();
    let coarse = palette(16);
    canvas.show(&painter.paint(compose(&scene, &coarse), &coarse, GRID, AREA, &[]));
    assert!(!painter.owes(), "it is not cut");
    let fine = palette(32);
    painter.cut(Some(20_000));
    let mut pieces = 0;
    while pieces == 0 || painter.owes() {
        let sixels = painter.paint(compose(&scene, &fine), &fine, GRID, AREA, &[]);
        pieces += 1;
        assert!(total(&sixels) <= 80_000 && pieces < 40, "{} bytes", total(&sixels));
        canvas.show(&sixels);
    }
    println!("{pieces} pieces");
    assert!(pieces > 5 && canvas.shows(&compose(&scene, &fine), &fine, AREA));

    // While the top is on its way in other grays the cursor moves near the bottom.
    canvas.show(&painter.paint(compose(&scene, &coarse), &coarse, GRID, AREA, &[]));
    scene.crosshair = at(500.0, 650.0);
    painter.cut(Some(0));
    let moved = painter.paint(compose(&scene, &coarse), &coarse, GRID, AREA, &[]);
    assert!(total(&moved) <= 12_000, "{} bytes", total(&moved));
    assert!(moved.iter().any(|sixel| sixel.row > 30) && painter.owes());
    canvas.show(&moved);
    painter.cut(None);
    canvas.show(&painter.paint(compose(&scene, &coarse), &coarse, GRID, AREA, &[]));
    assert!(!painter.owes() && canvas.shows(&compose(&scene, &coarse), &coarse, AREA));
}

#[test]
fn random_changes_always_end_in_the_right_picture() {
    let palette = palette(16);
    let mut random = fastrand::Rng::with_seed(4);
    let area = Rect::new(2, 2, 30, 20);
    let mut picture = Picture::filled(240, 320, 3);
    let mut painter = Painter::new(Limits { max_width_px: 100, max_height_px: 90 });
    let mut canvas = Canvas::new();
    for round in 0..60 {
        for _ in 0..random.usize(0..12) {
            let (x, y) = (random.usize(0..240), random.usize(0..320));
            let (w, h) = (random.usize(1..40).min(240 - x), random.usize(1..40).min(320 - y));
            let value = random.u8(0..20);
            for row in y..y + h {
                picture.indices[row * 240 + x..row * 240 + x + w].fill(value);
            }
        }
        if round % 13 == 12 {
            painter.damage(Rect::new(4, 4, 3, 3));
        }
        let sixels = painter.paint(picture.clone(), &palette, GRID, area, &[]);
        for sixel in &sixels {
            let (width, height, _) = decoded(&sixel.bytes);
            assert!(width <= 100 && height <= 90 && width % 8 == 0 && height % 16 == 0);
        }
        canvas.show(&sixels);
        assert!(canvas.shows(&picture, &palette, area), "round {round}");
    }
}

#[test]
fn text_over_the_picture_is_left_alone_until_it_goes() {
    let (frame, palette) = (speckle(), palette(32));
    let mut scene = scene(&frame);
    let mut painter = Painter::new(Limits { max_width_px: 4096, max_height_px: 4096 });
    let popup = Rect::new(20, 10, 30, 12);
    painter.paint(compose(&scene, &palette), &palette, GRID, AREA, &[]);
    scene.tone = Tone { level: 107.5, ..Tone::default() };
    let covered = painter.paint(compose(&scene, &palette), &palette, GRID, AREA, &[popup]);
    for sixel in &covered {
        let (width, height, _) = decoded(&sixel.bytes);
        let sent = Rect::new(sixel.column, sixel.row, (width / 8) as u16, (height / 16) as u16);
        assert!(!sent.intersects(popup), "{sent:?} would paint over the text");
    }
    let freed = painter.paint(compose(&scene, &palette), &palette, GRID, AREA, &[]);
    assert_eq!(freed.len(), 1);
    let (width, height, _) = decoded(&freed[0].bytes);
    assert_eq!((freed[0].column, freed[0].row, width, height), (20, 10, 240, 192));
}

#[test]
fn the_last_row_and_the_border_of_the_terminal_stay_free() {
    let palette = palette(16);
    let mut painter = Painter::new(Limits::default());
    let grid = Grid { columns: 20, rows: 10, cell_px: (8, 17) };
    let picture = Picture::filled(400, 400, 5);
    let sixels = painter.paint(picture, &palette, grid, Rect::new(4, 0, 50, 50), &[]);
    let (width, height, _) = decoded(&sixels[0].bytes);
    assert_eq!((sixels.len(), width, height), (1, 16 * 8, 9 * 17));
    let none = painter.paint(Picture::filled(8, 17, 1), &palette, grid, Rect::new(0, 9, 1, 1), &[]);
    assert!(none.is_empty());
}

#[test]
fn noise_beyond_the_longest_sixel_is_cut() {
    let mut random = fastrand::Rng::with_seed(5);
    let palette = palette(101);
    let indices = (0..1600 * 1200).map(|_| random.u8(0..101)).collect();
    let picture = Picture { width_px: 1600, height_px: 1200, indices };
    let grid = Grid { columns: 200, rows: 80, cell_px: (8, 16) };
    let mut painter = Painter::new(Limits { max_width_px: 4096, max_height_px: 4096 });
    let sixels = painter.paint(picture, &palette, grid, Rect::new(0, 0, 200, 75), &[]);
    assert!(sixels.len() > 1 && sixels.iter().all(|sixel| sixel.bytes.len() < 900_000));
}

#[test]
fn window_and_level_are_one_table() {
    let table = Tone::default().table(32);
    assert_eq!((table[0], table[255]), (0, 31));
    assert!(table.windows(2).all(|pair| pair[0] <= pair[1]));
    assert_eq!(table.iter().collect::<HashSet<_>>().len(), 32);
    let narrow = Tone { level: 100.0, window: 20.0, gamma: 1.0 }.table(32);
    assert_eq!((narrow[89], narrow[111]), (0, 31));
    assert!(Tone { level: 87.5, ..Tone::default() }.table(32)[100] > table[100]);
    let steep = Tone { window: 127.5, ..Tone::default() }.table(32);
    assert!(steep[60] < table[60] && steep[200] > table[200]);
}

#[test]
fn images_are_enlarged_and_averaged_where_they_belong() {
    let palette = palette(101);
    let frame = GrayFrame::new(4, 2, vec![0, 255, 0, 255, 255, 0, 255, 0]).expect("4 x 2");
    let exact = compose(&Scene::new(Some(&frame), Viewport::fit(4, 2, 8, 4)), &palette);
    assert_eq!(exact.row(1), [0, 0, 100, 100, 0, 0, 100, 100]);
    assert_eq!(exact.row(2), [100, 100, 0, 0, 100, 100, 0, 0]);
    let averaged = compose(&Scene::new(Some(&frame), Viewport::fit(4, 2, 2, 1)), &palette);
    assert!(averaged.indices.iter().all(|&level| level == 50), "{averaged:?}");
    let smooth = Scene { smooth: true, ..Scene::new(Some(&frame), Viewport::fit(4, 2, 40, 20)) };
    let smooth = compose(&smooth, &palette);
    let row = smooth.row(2);
    assert!(row[4] < 5 && row[15] >= 95 && (40..60).contains(&row[9]), "{row:?}");
    // A wide area shows the image in the middle and black beside it.
    let wide = compose(&Scene::new(Some(&frame), Viewport::fit(4, 2, 12, 4)), &palette);
    assert_eq!(wide.row(0), [0, 0, 0, 0, 100, 100, 0, 0, 100, 100, 0, 0]);
}

#[test]
fn masks_keep_speckle_visible_and_outline_their_border() {
    let palette = palette(32);
    let frame =
        GrayFrame::new(40, 40, (0..1600).map(|i| (i * 7 % 256) as u8).collect()).expect("40 x 40");
    let mask = Bitmap::from_fn(40, 40, |x, y| (10..30).contains(&x) && (10..30).contains(&y));
    let mut scene = Scene::new(Some(&frame), Viewport::fit(40, 40, 40, 40));
    let plain = compose(&scene, &palette);
    let mut draw = |style| {
        scene.masks = vec![MaskLayer { bitmap: &mask, colour: Colour(1), style }];
        compose(&scene, &palette)
    };
    let at = |picture: &Picture, x: usize, y: usize| picture.indices[y * 40 + x];
    let current = draw(MaskStyle::Current);
    let line = palette.overlay(Colour(1));
    assert_eq!((at(&current, 10, 20), at(&current, 11, 20)), (line, line));
    assert_eq!(at(&current, 9, 20), at(&plain, 9, 20));
    assert_eq!(at(&current, 20, 20), palette.tint(Colour(1), at(&plain, 20, 20)));
    let tints: HashSet<u8> = (12..28)
        .flat_map(|y| (12..28).map(move |x| (x, y)))
        .map(|(x, y)| at(&current, x, y))
        .collect();
    assert!(tints.len() > 20, "speckle survives: {}", tints.len());
    let other = draw(MaskStyle::Other);
    assert_eq!((at(&other, 10, 20), at(&other, 11, 20)), (line, at(&plain, 11, 20)));
    let dashes = (10..30).filter(|&x| at(&draw(MaskStyle::Stale), x, 10) == line).count();
    assert!((8..16).contains(&dashes), "{dashes}");
    assert_eq!(draw(MaskStyle::Hidden), plain);
}

#[test]
fn a_mask_that_leaves_the_screen_has_no_edge_there() {
    let palette = palette(32);
    let frame = GrayFrame::new(40, 40, vec![90; 1600]).expect("40 x 40");
    let mask = Bitmap::from_fn(40, 40, |_, y| (5..35).contains(&y));
    let view = Viewport::fit(40, 40, 400, 400).zoomed(4.0, PointPx::new(20.0, 20.0));
    let mut scene = Scene::new(Some(&frame), view);
    scene.masks = vec![MaskLayer { bitmap: &mask, colour: Colour(1), style: MaskStyle::Current }];
    let line = palette.overlay(Colour(1));
    assert!(!compose(&scene, &palette).indices.contains(&line), "the whole screen is inside");
}

#[test]
fn marks_lie_where_they_are_and_tell_their_kind() {
    let palette = palette(32);
    let frame = GrayFrame::new(64, 64, vec![128; 64 * 64]).expect("64 x 64");
    let count = |scene: &Scene<'_>, colour: Colour| {
        let index = palette.overlay(colour);
        compose(scene, &palette).indices.iter().filter(|&&i| i == index).count()
    };
    let mut scene = Scene::new(Some(&frame), Viewport::fit(64, 64, 256, 256));
    let mut point = PointMark {
        at: PointPx::new(32.5, 16.5),
        kind: PointKind::Boundary,
        colour: Colour(2),
        chosen: false,
    };
    let mut areas = Vec::new();
    for kind in [PointKind::Boundary, PointKind::Inside, PointKind::Outside] {
        for chosen in [false, true] {
            (point.kind, point.chosen) = (kind, chosen);
            scene.points = vec![point];
            areas.push(count(&scene, Colour(2)));
        }
    }
    assert!(areas.iter().collect::<HashSet<_>>().len() == 6, "all differ: {areas:?}");
    let picture = compose(&scene, &palette);
    assert_eq!(picture.row(66)[130], palette.overlay(Colour(2)), "in the middle of its image px");
    scene.points.clear();
    scene.crosshair = Some(Crosshair { at: PointPx::new(10.5, 10.5), colour: Colour(0) });
    let picture = compose(&scene, &palette);
    assert_ne!(picture.row(42)[42], palette.overlay(Colour(0)), "the pixel beneath stays visible");
    assert_eq!(picture.row(42)[48], palette.overlay(Colour(0)));
    let area = BoxPx::from_corners(PointPx::new(40.0, 40.0), PointPx::new(20.0, 30.0));
    scene.boxes = vec![BoxMark { area, colour: Colour(1), chosen: false }];
    assert_eq!(count(&scene, Colour(1)), 2 * (80 + 40) - 4);
    scene.lines = vec![LineMark {
        from: PointPx::new(0.0, 60.0),
        to: PointPx::new(64.0, 60.0),
        colour: Colour(3),
        dotted: true,
    }];
    assert_eq!(count(&scene, Colour(3)), 129);
}

#[test]
fn in_half_blocks_the_crosshair_covers_nothing_beneath_it_or_beside() {
    let (frame, palette) = (speckle(), palette(32));
    let view = Viewport::fit(frame.width_px, frame.height_px, 56, 42);
    let mut scene = Scene::new(Some(&frame), view);
    scene.mark_px = 1;
    let bare = compose(&scene, &palette);
    scene.crosshair = Some(Crosshair { at: view.to_image(20.5, 20.5), colour: Colour(0) });
    let marked = compose(&scene, &palette);
    let arms = [20, 20, 18, 17, 22, 23, 20, 20].into_iter().zip([18, 17, 20, 20, 20, 20, 22, 23]);
    let mut wanted = bare.clone();
    for (x, y) in arms {
        wanted.indices[y * bare.width_px + x] = palette.overlay(Colour(0));
    }
    assert!(marked == wanted, "eight pixels and no rim");
}

#[test]
fn hostile_scenes_do_not_panic() {
    let palette = palette(32);
    let frame = GrayFrame::new(7, 5, vec![9; 35]).expect("7 x 5");
    let far = PointPx::new(f32::INFINITY, f32::NAN);
    for (width, height) in [(0, 0), (1, 0), (3, 200), (640, 1)] {
        for zoom in [0.001, 1.0, 1e9] {
            let view = Viewport::fit(7, 5, width, height)
                .zoomed(zoom, PointPx::new(3.0, 3.0))
                .panned(1e9, -1e9);
            let wrong_size = Bitmap::from_fn(50, 50, |_, _| true);
            let mut scene = Scene::new(Some(&frame), view);
            scene.smooth = true;
            scene.masks = vec![MaskLayer {
                bitmap: &wrong_size,
                colour: Colour(200),
                style: MaskStyle::Current,
            }];
            scene.crosshair = Some(Crosshair { at: far, colour: Colour(99) });
            scene.boxes = vec![BoxMark {
                area: BoxPx { min: far, max: far },
                colour: Colour(0),
                chosen: true,
            }];
            scene.lines = vec![LineMark {
                from: far,
                to: PointPx::default(),
                colour: Colour(0),
                dotted: false,
            }];
            assert_eq!(compose(&scene, &palette).indices.len(), width * height);
            scene.frame = None;
            assert_eq!(compose(&scene, &palette).indices.len(), width * height);
        }
    }
}

#[cfg(feature = "libsixel")]
#[test]
fn libsixel_draws_the_same_pixels() {
    use sonomark::tui::graphics::libsixel;
    let mut random = fastrand::Rng::with_seed(6);
    let palette = palette(32);
    for _ in 0..200 {
        let (width, height) = (random.usize(2..90), random.usize(6..60));
        let picture = random_picture(&mut random, &palette, width, height);
        let theirs = libsixel::encode(&picture, &palette).expect("libsixel encodes");
        let (w, h, pixels) = decoded(&theirs);
        assert_eq!((w, h), (width, height));
        assert_eq!(pixels, decoded(&sixel::encode(&picture, &palette)).2);
    }
    assert!(libsixel::encode(&Picture::filled(1, 1, 0), &palette).is_err());
    let broken = Picture { width_px: 30, height_px: 30, indices: vec![0; 8] };
    assert!(libsixel::encode(&broken, &palette).is_err(), "a short buffer is refused");
}

#[test]
fn own_sixels_are_no_longer_than_those_of_libsixel() {
    let recorded = include_str!("../data/sixel.json");
    let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
    assert!(recorded["levels"]["32"]["cpu_ratio"].as_f64().unwrap() <= 0.6);
    let rows = bench_rows(&[], 1);
    for levels in [16, 32, 64, 101] {
        let bytes = |encoder: &str| {
            let row = rows.iter().find(|row| (row.encoder, row.levels) == (encoder, levels));
            row.map(|row| row.bytes)
        };
        let own = bytes("own").unwrap();
        let then = recorded["levels"][levels.to_string()]["libsixel_bytes"].as_u64().unwrap();
        // Measured now where this build has it.
        let other = bytes("libsixel").unwrap_or(then as usize);
        println!("{levels} levels: {own} bytes, libsixel {other}");
        assert_eq!(bytes("libsixel").is_some(), cfg!(feature = "libsixel"));
        assert!(own <= other && own <= then as usize, "{levels}: {own} of {other} or {then}");
    }
}

#[test]
fn images_as_png_are_sharper_and_lighter_than_sixels() {
    let frame = synthetic_frame(1024, 768, 7);
    let limits = Limits { max_width_px: 4096, max_height_px: 4096 };
    let bytes = |protocol: Protocol, levels: u8| {
        let palette = palette(levels);
        let view = Viewport::fit(1024, 768, 1024, 768);
        let picture = compose(&Scene::new(Some(&frame), view), &palette);
        let mut painter = Painter::by(protocol, limits);
        total(&painter.paint(picture, &palette, GRID, AREA, &[]))
    };
    let sixel = bytes(Protocol::Sixel, 32);
    for protocol in [Protocol::Kitty, Protocol::Iterm] {
        let (same, fine) = (bytes(protocol, 32), bytes(protocol, FINEST));
        let times = |bytes: usize| sixel as f64 / bytes as f64;
        println!(
            "{protocol:?}: {:.2} times lighter at 32 grays, {:.2} at {FINEST}",
            times(same),
            times(fine)
        );
        assert!(times(same) > 2.25 && times(fine) > 1.35, "{same} and {fine} of {sixel}");
    }
}

/// The picture in iTerm2's sequence, and the cells that it names.
fn inline(bytes: &[u8]) -> (Vec<u8>, [usize; 2]) {
    use base64::Engine;
    let text = std::str::from_utf8(bytes).unwrap();
    let body = text.strip_prefix("\x1b]1337;File=inline=1;").unwrap().strip_suffix('\x07').unwrap();
    let (head, data) = body.split_once(':').unwrap();
    let told = |name: &str| -> usize {
        head.split(';').find_map(|part| part.strip_prefix(name)).unwrap().parse().unwrap()
    };
    let data = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
    assert_eq!(told("size="), data.len());
    (data, [told("width="), told("height=")])
}

#[test]
fn inline_images_hold_the_same_pixels_and_name_whole_cells() {
    let mut random = fastrand::Rng::with_seed(8);
    let palette = palette(32);
    let picture = random_picture(&mut random, &palette, 83, 40);
    let mut painter = Painter::by(Protocol::Iterm, Limits::default());
    let sent = painter.paint(picture.clone(), &palette, GRID, AREA, &[]);
    assert_eq!(sent.len(), 1);
    let (data, cells) = inline(&sent[0].bytes);
    let cell = GRID.cell_px;
    let wanted = [83usize.div_ceil(cell.0.into()), 40usize.div_ceil(cell.1.into())];
    assert_eq!(cells, wanted);
    let image = image::load_from_memory(&data).unwrap().to_rgb8();
    assert_eq!(image.width() as usize, cells[0] * usize::from(cell.0));
    assert_eq!(image.height() as usize, cells[1] * usize::from(cell.1));
    for (i, index) in picture.indices.iter().enumerate() {
        assert_eq!(image.get_pixel(i as u32 % 83, i as u32 / 83).0, palette.rgb(*index));
    }
    assert_eq!(painter.paint(picture, &palette, GRID, AREA, &[]), [], "nothing changed");
}
