//! CVAT's XML: written as "CVAT for video 1.1", read as that or "CVAT for images 1.1".
//!
//! Every track is a `<track>` with a `<mask>` on each frame that it has; a frame further on that
//! has none gets the same mask with `outside="1"`, which is how CVAT says that a track pauses.
//! Outlines between two keyframes are interpolated where both have as many corners, with the attributes of the
//! earlier one; where not, a note says how many frames got none.
//! Attributes are declared with their label (those of frames as mutable, with the values in use)
//! and stand in every mask, as CVAT itself writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use roxmltree::{Document, Node, ParsingOptions};

use super::atomic::write_atomic;
use super::colours::colour;
use super::content::{Content, Gather, Names, joined_told, names_of};
use super::frames::Frames;
use super::identity::clip_in;
use super::names::plain;
use super::raster::{Rule, ellipse, fill};
use super::read::{ReadError, Target, check_length, stem};
use super::{ExportError, Job, Report, rle};
use crate::codec;
use crate::domain::{Attributes, Bitmap, FrameIndex, Track, counted};

const MAX_NODES: u32 = 50_000_000;
/// Instead of the number of a track: of images, which know none, those of one label are one structure.
const NO_TRACK: u64 = u64::MAX;

pub(super) fn write(job: &Job, path: &Path) -> Result<Report, ExportError> {
    let (mut text, mut masks) = (String::new(), 0);
    let encode = |e: std::fmt::Error| ExportError::encode(path, e);
    let names = names_of(job.annotation, Names::Plain);
    head(job, &names, &mut text).map_err(encode)?;
    let tracks = job.annotation.tracks.values().zip(&names);
    let drawn = tracks.filter(|(track, _)| track.masks.values().any(|m| !m.mask.is_empty()));
    for (id, (track, name)) in drawn.enumerate() {
        masks += put_track(job, path, id, track, name, &mut text)?;
    }
    text.push_str("</annotations>\n");
    check_length(path, text.len())?;
    write_atomic(path, text.as_bytes())?;
    Ok(Report { files: vec![path.to_owned()], masks, ..Report::default() })
}

fn head(job: &Job, names: &[String], text: &mut String) -> std::fmt::Result {
    let info = job.info;
    write!(
        text,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<!-- {} -->\n<annotations>\n\
         <version>1.1</version>\n<meta>\n<task>\n<name>{}</name>\n<size>{}</size>\n\
         <mode>interpolation</mode>\n<start_frame>0</start_frame>\n\
         <stop_frame>{}</stop_frame>\n<labels>\n",
        job.about(),
        info.content_hash.short(),
        info.frames,
        info.frames.saturating_sub(1),
    )?;
    let mut labels: Vec<&String> = names.iter().collect();
    labels.sort_unstable();
    labels.dedup();
    for (number, label) in (1..).zip(labels) {
        let [r, g, b] = colour(number);
        write!(
            text,
            "<label><name>{}</name><color>#{r:02x}{g:02x}{b:02x}</color><type>mask</type>\
             <attributes>",
            escaped(label)
        )?;
        let tracks = job.annotation.tracks.values().zip(names);
        declare(tracks.filter(|(_, name)| *name == label).map(|(track, _)| track), text)?;
        text.push_str("</attributes></label>\n");
    }
    writeln!(
        text,
        "</labels>\n<original_size><width>{}</width><height>{}</height></original_size>\n\
         </task>\n</meta>",
        info.width_px, info.height_px
    )
}

/// Declares the attributes that tracks of one label have.
fn declare<'a>(tracks: impl Iterator<Item = &'a Track>, text: &mut String) -> std::fmt::Result {
    let mut used: BTreeMap<&str, (bool, BTreeSet<&str>)> = BTreeMap::new();
    for track in tracks {
        let whole = track.attributes.iter().map(|pair| (false, pair));
        let frames = track.frame_attributes.values().flatten().map(|pair| (true, pair));
        for (mutable, (name, value)) in whole.chain(frames) {
            let entry = used.entry(name).or_default();
            entry.0 |= mutable;
            entry.1.insert(value);
        }
    }
    for (name, (mutable, values)) in used {
        let values: Vec<String> = values.into_iter().map(escaped_value).collect();
        write!(
            text,
            "<attribute><name>{}</name><mutable>{}</mutable><input_type>select</input_type>\
             <default_value></default_value><values>{}</values></attribute>",
            escaped_value(name),
            if mutable { "True" } else { "False" },
            values.join("\n"),
        )?;
    }
    Ok(())
}

/// A name or value of an attribute, which the person may have typed: without control characters,
/// which XML cannot hold.
fn escaped_value(text: &str) -> String {
    escaped(&plain(text))
}

fn put_track(
    job: &Job,
    path: &Path,
    id: usize,
    track: &Track,
    name: &str,
    text: &mut String,
) -> Result<usize, ExportError> {
    let encode = |e: std::fmt::Error| ExportError::encode(path, e);
    let label = escaped(name);
    writeln!(text, "<track id=\"{id}\" label=\"{label}\" source=\"manual\">").map_err(encode)?;
    let mut masks = 0;
    for (&frame, held) in &track.masks {
        job.go_on(path)?;
        let Some((place, runs)) = rle::of_box(&held.mask.to_bitmap()) else { continue };
        masks += 1;
        let said = track.attributes_on(frame);
        put_mask(text, frame, false, place, &runs, &said).map_err(encode)?;
        let next = frame + 1;
        let goes_on = track.masks.get(&next).is_some_and(|held| !held.mask.is_empty());
        if !goes_on && next < job.info.frames {
            put_mask(text, next, true, place, &runs, &said).map_err(encode)?;
        }
        check_length(path, text.len())?;
    }
    writeln!(text, "</track>").map_err(encode)?;
    Ok(masks)
}

fn put_mask(
    text: &mut String,
    frame: FrameIndex,
    outside: bool,
    [left, top, width, height]: [u32; 4],
    runs: &[u32],
    said: &Attributes,
) -> std::fmt::Result {
    let runs: Vec<String> = runs.iter().map(u32::to_string).collect();
    write!(
        text,
        "<mask frame=\"{frame}\" keyframe=\"1\" outside=\"{}\" occluded=\"0\" rle=\"{}\" \
         left=\"{left}\" top=\"{top}\" width=\"{width}\" height=\"{height}\" z_order=\"0\">",
        u8::from(outside),
        runs.join(", "),
    )?;
    for (name, value) in said {
        let (name, value) = (escaped_value(name), escaped_value(value));
        write!(text, "<attribute name=\"{name}\">{value}</attribute>")?;
    }
    text.push_str("</mask>\n");
    Ok(())
}

/// A plain label as text of an attribute or element.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
    }
    out
}

/// Reads masks, polygons, boxes and ellipses of tracks and images.
pub(super) fn read(path: &Path, target: &Target) -> Result<Content, ReadError> {
    let bytes = codec::read_file(path)?;
    let text = std::str::from_utf8(&bytes).map_err(|e| ReadError::malformed(path, e))?;
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document =
        Document::parse_with_options(text, options).map_err(|e| ReadError::malformed(path, e))?;
    let root = document.root_element();
    if !root.has_tag_name("annotations") {
        return Err(ReadError::malformed(path, "it is no annotation of CVAT"));
    }
    check_size(path, root, target)?;
    let name = |node: &Node| stem(Path::new(node.attribute("name").unwrap_or_default()));
    let images = root.children().filter(|node| node.has_tag_name("image"));
    let names: Vec<String> = images.map(|node| name(&node)).collect();
    let frames = Frames::of(target, &names, false);
    frames.check_still(path, names.len())?;
    let gather = Gather::default();
    let mut reader = Reader { path, target, frames, gather, left_out: 0, joined: 0, between: 0 };
    for (number, node) in (0..).zip(root.children().filter(Node::is_element)) {
        match node.tag_name().name() {
            "track" => reader.track(number, node)?,
            "image" => reader.image(&name(&node), node)?,
            _ => {}
        }
    }
    let (left_out, between) = (reader.left_out, reader.between);
    // Images that are not matched by name have numbers of their own.
    let mut notes = if reader.frames.are_named() { reader.frames.notes() } else { Vec::new() };
    if left_out > 0 {
        notes.push(format!(
            "{left_out} shapes that are no masks, polygons, boxes or ellipses were left out"
        ));
    }
    notes.extend(joined_told(reader.joined));
    if between > 0 {
        notes.push(format!(
            "{} between keyframes without a mask: masks, and outlines of different numbers of \
             corners, are not interpolated",
            counted(between, "frame")
        ));
    }
    let mut content = reader.gather.content(notes);
    content.changeable = changeable(root);
    let comments = document.root().children().filter(Node::is_comment);
    let clips = comments.filter_map(|comment| clip_in(comment.text()?));
    content.exported_from(path, clips, target)
}

/// Names of the attributes that are declared as mutable.
fn changeable(root: Node) -> BTreeSet<String> {
    let declared = root.descendants().filter(|node| node.has_tag_name("attribute"));
    let text = |node: &Node, name: &str| {
        let child = node.children().find(|child| child.has_tag_name(name))?;
        Some(child.text()?.trim().to_owned())
    };
    declared
        .filter(|node| text(node, "mutable").is_some_and(|word| word.eq_ignore_ascii_case("true")))
        .filter_map(|node| text(&node, "name"))
        .collect()
}

fn check_size(path: &Path, root: Node, target: &Target) -> Result<(), ReadError> {
    let number = |name: &str| {
        let size = root.descendants().find(|node| node.has_tag_name("original_size"))?;
        size.children().find(|node| node.has_tag_name(name))?.text()?.trim().parse::<u32>().ok()
    };
    check_sides(path, (number("width"), number("height")), target)
}

/// Refuses what was drawn on another size, where width and height are told.
fn check_sides(
    path: &Path,
    sides: (Option<u32>, Option<u32>),
    target: &Target,
) -> Result<(), ReadError> {
    let info = target.info;
    match sides {
        (Some(w), Some(h)) if (w, h) != (info.width_px, info.height_px) => {
            let (width, height) = (info.width_px, info.height_px);
            let cause =
                format!("it was drawn on {w} x {h} pixels, the clip has {width} x {height}");
            Err(ReadError::other_clip(path, cause))
        }
        _ => Ok(()),
    }
}

struct Reader<'a> {
    path: &'a Path,
    target: &'a Target<'a>,
    /// Of the images of the file, by their names.
    frames: Frames<'a>,
    gather: Gather,
    left_out: usize,
    /// Shapes of images that were joined to another.
    joined: usize,
    /// Frames between keyframes that got nothing.
    between: usize,
}

impl Reader<'_> {
    fn track(&mut self, number: u64, track: Node) -> Result<(), ReadError> {
        let label = track.attribute("label").unwrap_or_default();
        let mut last: Option<(FrameIndex, Node)> = None;
        for shape in track.children().filter(Node::is_element) {
            let is_key = ["mask", "polygon", "box", "ellipse"].contains(&shape.tag_name().name());
            let outside = shape.attribute("outside") == Some("1");
            if !is_key && outside {
                continue;
            }
            let frame = self.number(shape, "frame")? as FrameIndex;
            if let Some((from, before)) = last.take_if(|_| is_key) {
                self.fill_between((label, number), (from, before), (frame, shape));
            }
            if outside {
                continue;
            }
            self.shape(label, number, frame, shape)?;
            last = if is_key { Some((frame, shape)) } else { last };
        }
        Ok(())
    }

    /// The frames between two shapes of a track: corners move in straight lines and attributes stay what they were, as
    /// CVAT has it.
    fn fill_between(
        &mut self,
        (label, number): (&str, u64),
        (first, from): (FrameIndex, Node),
        (last, to): (FrameIndex, Node),
    ) {
        let info = self.target.info;
        let frames = first + 1..last.min(info.frames);
        let said = said_by(from);
        let (from, to) = (Outline::of(from), Outline::of(to));
        if from.points.is_empty() || from.points.len() != to.points.len() {
            self.between += frames.len();
            return;
        }
        for frame in frames {
            let share = (frame - first) as f64 / (last - first) as f64;
            let mut bitmap = Bitmap::empty(info.width_px, info.height_px);
            fill(&mut bitmap, &from.towards(&to, share).corners(), Rule::Centres);
            self.gather.put(label, number, frame, &bitmap);
            self.gather.say(label, number, frame, said.clone());
        }
    }

    fn image(&mut self, name: &str, image: Node) -> Result<(), ReadError> {
        let frame = if self.frames.are_named() || self.target.info.frames == 1 {
            self.frames.index(self.path, name)?
        } else {
            Some(self.number(image, "id")? as FrameIndex)
        };
        let Some(frame) = frame else { return Ok(()) };
        let side = |name: &str| image.attribute(name).and_then(|text| text.trim().parse().ok());
        check_sides(self.path, (side("width"), side("height")), self.target)?;
        for shape in image.children().filter(Node::is_element) {
            let label = shape.attribute("label").unwrap_or_default();
            self.shape(label, NO_TRACK, frame, shape)?;
        }
        Ok(())
    }

    fn number(&self, node: Node, name: &str) -> Result<u32, ReadError> {
        let value = node.attribute(name).and_then(|text| text.trim().parse().ok());
        value.ok_or_else(|| {
            let cause = format!("a <{}> has no number {name}", node.tag_name().name());
            ReadError::malformed(self.path, cause)
        })
    }

    fn shape(
        &mut self,
        label: &str,
        number: u64,
        frame: FrameIndex,
        shape: Node,
    ) -> Result<(), ReadError> {
        self.target.go_on(self.path)?;
        let info = self.target.info;
        if frame >= info.frames {
            let cause =
                format!("frame {frame} (from 0) of a clip of {}", counted(info.frames, "frame"));
            return Err(ReadError::other_clip(self.path, cause));
        }
        let mut bitmap = Bitmap::empty(info.width_px, info.height_px);
        match shape.tag_name().name() {
            "mask" => {
                let runs = shape.attribute("rle").unwrap_or_default().split(',');
                let runs: Option<Vec<u32>> = runs.map(|run| run.trim().parse().ok()).collect();
                let place = [
                    self.number(shape, "left")?,
                    self.number(shape, "top")?,
                    self.number(shape, "width")?,
                    self.number(shape, "height")?,
                ];
                if !runs.is_some_and(|runs| rle::put_box(&mut bitmap, place, runs)) {
                    let cause = format!("a mask on frame {frame} (from 0) does not fill its box");
                    return Err(ReadError::malformed(self.path, cause));
                }
            }
            "polygon" | "box" | "ellipse" => {
                fill(&mut bitmap, &Outline::of(shape).corners(), Rule::Centres);
            }
            "attribute" | "tag" => return Ok(()),
            _ => {
                self.left_out += 1;
                return Ok(());
            }
        }
        let held = self.gather.put(label, number, frame, &bitmap);
        self.joined += usize::from(held && number == NO_TRACK);
        self.gather.say(label, number, frame, said_by(shape));
        Ok(())
    }
}

/// The attributes of a shape.
fn said_by(shape: Node) -> Attributes {
    let said = shape.children().filter(|node| node.has_tag_name("attribute"));
    let said = said.filter_map(|node| Some((node.attribute("name")?, node.text()?)));
    said.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The outline of a polygon, box or ellipse; of anything else one without points.
struct Outline {
    /// As the file has them, not turned.
    points: Vec<[f64; 2]>,
    /// Turned clockwise about the middle, degrees.
    turn_deg: f64,
}

impl Outline {
    fn of(shape: Node) -> Self {
        let turn = shape.attribute("rotation").and_then(|text| text.trim().parse::<f64>().ok());
        let turn_deg = turn.filter(|turn| turn.is_finite()).unwrap_or(0.0);
        Self { points: points(shape), turn_deg }
    }

    /// On the way to `other` with as many points; it turns the shorter way round, as CVAT has it.
    fn towards(&self, other: &Self, share: f64) -> Self {
        let on = |a: f64, b: f64| a + (b - a) * share;
        let moved = |(a, b): (&[f64; 2], &[f64; 2])| [on(a[0], b[0]), on(a[1], b[1])];
        let turn = (other.turn_deg - self.turn_deg + 180.0).rem_euclid(360.0) - 180.0;
        Self {
            points: self.points.iter().zip(&other.points).map(moved).collect(),
            turn_deg: self.turn_deg + turn * share,
        }
    }

    /// The points where they are drawn.
    fn corners(&self) -> Vec<[f64; 2]> {
        if self.turn_deg == 0.0 {
            return self.points.clone();
        }
        let count = self.points.len() as f64;
        let middle = |i: usize| self.points.iter().map(|point| point[i]).sum::<f64>() / count;
        let (x, y) = (middle(0), middle(1));
        let (sin, cos) = self.turn_deg.to_radians().sin_cos();
        let turned = |&[a, b]: &[f64; 2]| {
            let (a, b) = (a - x, b - y);
            [x + a * cos - b * sin, y + a * sin + b * cos]
        };
        self.points.iter().map(turned).collect()
    }
}

/// The points of a shape as the file has them; none of shapes without an outline.
fn points(shape: Node) -> Vec<[f64; 2]> {
    let side = |name: &str| shape.attribute(name).and_then(|v| v.trim().parse::<f64>().ok());
    match shape.tag_name().name() {
        "polygon" => {
            let points = shape.attribute("points").unwrap_or_default().split(';');
            points.filter_map(pair).collect()
        }
        "box" => match (side("xtl"), side("ytl"), side("xbr"), side("ybr")) {
            (Some(x0), Some(y0), Some(x1), Some(y1)) => {
                vec![[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
            }
            _ => Vec::new(),
        },
        "ellipse" => match (side("cx"), side("cy"), side("rx"), side("ry")) {
            (Some(x), Some(y), Some(along), Some(down)) => ellipse([x, y], [along, down]),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// "12.50,7.00"
fn pair(text: &str) -> Option<[f64; 2]> {
    let (x, y) = text.split_once(',')?;
    Some([x.trim().parse().ok()?, y.trim().parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_whole_again_after_xml() {
        for label in ["nerve", "<a> & \"b\" 'c'", "Ähre"] {
            let text = format!("<a label=\"{}\"/>", escaped(label));
            let document = Document::parse(&text).expect("well-formed");
            assert_eq!(document.root_element().attribute("label"), Some(label));
        }
    }
}
