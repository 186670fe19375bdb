//! The format of a journal: one line of JSON per step, TAB, CRC-32, LF.
//!
//! `{"v":1,"n":17,"lam":412,"prev":"9f3a61c2","t":1790000000000,"group":3,"mark":"do","edits":[..]}`
//! `n` counts the lines of a session without gaps, `lam` is the Lamport time that orders sessions
//! among each other, `prev` the first 8 hex digits of the SHA-256 of the JSON of the line before
//! (of the session's name for the first), `t` the wall clock in ms, for people only. A line of the
//! other kind carries `"view"` instead of group, mark and edits. Either may carry `"told":[..]`: of which
//! conflicts its annotator was told since the line before (`merge::Conflict`). A step whose masks were made from other
//! prompts than their structure has by then carries `"of":n`, a fingerprint of those (`Step::made_from`).
//! A mask that was computed again for other prompts and is the same is a line, too: it sets what is there.
//!
//! Reading never fails: what cannot be read is named by file and line, everything else counts.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::View;
use crate::domain::{Edit, Mark, Step, counted, shown};

const VERSION: u32 = 1;
/// How every line begins; inside a string the quotes would be escaped.
const LINE_START: &[u8] = b"{\"v\":";

/// What a line holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Record {
    /// A step of the annotation.
    Step(Step),
    /// Where the annotator was looking.
    View(View),
    /// Something only a newer version knows.
    Unknown,
}

/// One line that could be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    /// Position within the session, from 0.
    pub(super) n: u64,
    /// Lamport time.
    pub(super) lam: u64,
    /// Wall clock of the annotator, ms since 1970.
    pub(super) t: u64,
    /// Hash of the line before, as written.
    pub(super) prev: u32,
    /// Hash of this line.
    pub(super) own: u32,
    /// Content.
    pub(super) record: Record,
    /// Conflicts that its annotator has seen by then.
    pub(super) told: Vec<u64>,
}

/// What was read from the bytes of one file.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Readable lines in the order of the file.
    pub(super) lines: Vec<Line>,
    /// What could not be read, in the order of the file.
    pub(super) faults: Vec<Fault>,
    /// Number of damaged places (a torn end counts as one).
    pub(super) damaged: usize,
    /// Bytes up to and including the last line feed.
    pub(super) consumed: usize,
    /// Line feeds seen.
    pub(super) rows: usize,
    /// Bytes and line feeds before the first damaged place that holds zero bytes, which no line does.
    pub(super) hole: Option<(usize, usize)>,
}

/// A place of a file that is not what this version would have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What is the matter with it.
    pub(super) kind: FaultKind,
    /// Line of the file, from 1.
    pub(super) row: usize,
    /// The bytes that could not be read, among those that were looked at.
    pub(super) bytes: Range<usize>,
    /// The file, as notes call it.
    file: String,
    /// Ready to show, without the place.
    pub(super) what: String,
}

impl Fault {
    /// Ready to show, with file and line number.
    pub(super) fn note(&self) -> String {
        format!("{} line {}: {}", self.file, self.row, self.what)
    }
}

/// What is the matter with a place of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The last line was not written to its end.
    Torn,
    /// A line is not what was written.
    Damaged,
    /// What stands between two lines is not; both can be read.
    Between,
    /// It is whole, and of a newer version.
    Unknown,
}

/// Where a line stands.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// The file, as notes call it.
    name: &'a str,
    /// From 1.
    row: usize,
    /// Its first byte among those that are looked at.
    at: usize,
}

impl Place<'_> {
    /// What is the matter with `bytes` of this line.
    fn fault(&self, kind: FaultKind, bytes: Range<usize>, what: String) -> Fault {
        let bytes = self.at + bytes.start..self.at + bytes.end;
        Fault { kind, row: self.row, bytes, file: self.name.to_owned(), what }
    }
}

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    n: u64,
    lam: u64,
    prev: String,
    t: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edits: Option<&'a [Edit]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    view: Option<&'a View>,
    #[serde(skip_serializing_if = "<[u64]>::is_empty")]
    told: &'a [u64],
}

#[derive(Deserialize)]
struct Read<E, M, V> {
    n: u64,
    lam: u64,
    prev: String,
    #[serde(default)]
    t: u64,
    group: Option<u64>,
    mark: Option<M>,
    edits: Option<Vec<E>>,
    view: Option<V>,
    /// Of whatever kind: a step must not be lost by what stands beside it.
    #[serde(default)]
    of: Value,
    /// Likewise.
    #[serde(default)]
    told: Value,
}

/// The first four bytes of the SHA-256: what `prev` of the next line says.
pub(super) fn chain_hash(bytes: &[u8]) -> u32 {
    let digest = Sha256::digest(bytes);
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// A line ready to be written, and the hash that the next one refers to. `None` when the content
/// would not read back as it is (a score or coordinate that is not a number).
pub(super) fn encode(
    n: u64,
    lam: u64,
    prev: u32,
    t: u64,
    record: &Record,
    told: &[u64],
) -> Option<(Vec<u8>, u32)> {
    let (step, view) = match record {
        Record::Step(step) => (Some(step), None),
        Record::View(view) => (None, Some(view)),
        Record::Unknown => return None,
    };
    let written = Written {
        v: VERSION,
        n,
        lam,
        prev: format!("{prev:08x}"),
        t,
        group: step.map(|s| s.group),
        mark: step.map(|s| s.mark),
        edits: step.map(|s| s.edits.as_slice()),
        of: step.and_then(|s| s.made_from),
        view,
        told,
    };
    let mut bytes = serde_json::to_vec(&written).ok()?;
    let own = chain_hash(&bytes);
    let (read, unknown) = decode(&bytes)?;
    if read.record != *record || read.told != told || !unknown.is_empty() {
        return None;
    }
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(format!("\t{crc:08x}\n").as_bytes());
    Some((bytes, own))
}

/// Reads the JSON of a line; the second value names the kinds that only a newer
/// version knows.
pub(super) fn decode(json: &[u8]) -> Option<(Line, Vec<String>)> {
    let own = chain_hash(json);
    if let Ok(read) = serde_json::from_slice::<Read<Edit, Mark, View>>(json) {
        let (mut unknown, made_from) = (Vec::new(), read.of.as_u64());
        let record = match (read.group, read.mark, read.edits, read.view) {
            (Some(group), Some(mark), Some(edits), _) => {
                Record::Step(Step { group, mark, edits, made_from })
            }
            (_, _, _, Some(view)) => Record::View(view),
            _ => {
                unknown.push("a record that is neither a step nor a view".to_owned());
                Record::Unknown
            }
        };
        let prev = u32::from_str_radix(&read.prev, 16).ok()?;
        let (n, lam, t, told) = (read.n, read.lam, read.t, numbers(&read.told));
        return Some((Line { n, lam, t, prev, own, record, told }, unknown));
    }
    let read = serde_json::from_slice::<Read<Value, Value, Value>>(json).ok()?;
    let prev = u32::from_str_radix(&read.prev, 16).ok()?;
    let (n, lam, t, told) = (read.n, read.lam, read.t, numbers(&read.told));
    let mut unknown = Vec::new();
    let mark = read.mark.and_then(|mark| serde_json::from_value::<Mark>(mark).ok());
    let record = match (read.group, mark, read.edits) {
        (Some(group), Some(mark), Some(values)) => {
            let edits = values.into_iter().filter_map(|value| known_edit(value, &mut unknown));
            let (edits, made_from) = (edits.collect(), read.of.as_u64());
            Record::Step(Step { group, mark, edits, made_from })
        }
        _ if read.view.is_some() => {
            unknown.push("a view of a kind".to_owned());
            Record::Unknown
        }
        _ => {
            unknown.push("a step of a kind".to_owned());
            Record::Unknown
        }
    };
    Some((Line { n, lam, t, prev, own, record, told }, unknown))
}

fn numbers(value: &Value) -> Vec<u64> {
    value.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}

fn known_edit(value: Value, unknown: &mut Vec<String>) -> Option<Edit> {
    let kind = match &value {
        Value::Object(fields) => fields.keys().next().cloned().unwrap_or_default(),
        Value::String(name) => name.clone(),
        _ => String::new(),
    };
    let edit = serde_json::from_value(value).ok();
    if edit.is_none() {
        unknown.push(format!("an edit '{}'", shown(&kind)));
    }
    edit
}

/// Reads all lines of `bytes`. `name` is the file as notes call it (already safe to show), `row`
/// how many lines came before these bytes.
pub(super) fn scan(name: &str, bytes: &[u8], row: usize) -> Scan {
    let mut scan = Scan::default();
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes[at..].iter().position(|&b| b == b'\n').map(|length| at + length);
        let text = &bytes[at..end.unwrap_or(bytes.len())];
        let place = Place { name, row: row + scan.rows + 1, at };
        if !scan.take(place, text, 0) {
            if text.contains(&0) {
                scan.hole.get_or_insert((at, scan.rows));
            }
            scan.rescue(place, text, end.is_none());
        }
        match end {
            Some(end) => {
                at = end + 1;
                scan.rows += 1;
                scan.consumed = at;
            }
            None => at = bytes.len(),
        }
    }
    scan
}

impl Scan {
    /// Takes `text` (JSON, TAB, CRC) when it is whole; it begins `from` bytes behind `place`.
    fn take(&mut self, place: Place, text: &[u8], from: usize) -> bool {
        let Some(cut) = text.len().checked_sub(9).filter(|&cut| text[cut] == b'\t') else {
            return false;
        };
        let crc = std::str::from_utf8(&text[cut + 1..]).ok().filter(|hex| is_lower_hex(hex));
        let crc = crc.and_then(|hex| u32::from_str_radix(hex, 16).ok());
        if crc != Some(crc32fast::hash(&text[..cut])) {
            return false;
        }
        let Some((line, unknown)) = decode(&text[..cut]) else {
            return false;
        };
        for kind in unknown {
            let what = format!(
                "{kind} that this version of sonomark does not know; it is kept and left out"
            );
            self.faults.push(place.fault(FaultKind::Unknown, from..from + text.len(), what));
        }
        self.lines.push(line);
        true
    }

    /// Looks for whole lines inside a damaged one: when a line feed is the damaged byte, two good
    /// lines look like a bad one.
    fn rescue(&mut self, place: Place, text: &[u8], at_the_end: bool) {
        // No TAB stands inside the JSON of a line, so each byte is looked at once, whatever somebody wrote.
        let (mut from, mut behind_tab) = (0, 0);
        let mut lost = Vec::new();
        let tabs: Vec<usize> = (0..text.len()).filter(|&i| text[i] == b'\t').collect();
        for tab in tabs {
            let begin = behind_tab.max(from);
            behind_tab = tab + 1;
            if tab < from || tab + 9 > text.len() {
                continue;
            }
            let nearest = text[begin..tab].windows(LINE_START.len()).rposition(|w| w == LINE_START);
            if let Some(start) = nearest.map(|start| begin + start)
                && self.take(place, &text[start..tab + 9], start)
            {
                lost.push(from..start);
                // One byte stands where the line feed should.
                from = tab + 10;
            }
        }
        lost.push(from.min(text.len())..text.len());
        lost.retain(|bytes| !bytes.is_empty());
        let count = counted(lost.iter().map(ExactSizeIterator::len).sum::<usize>(), "byte");
        let (kind, what) = if lost.is_empty() {
            (FaultKind::Between, "damaged between two steps; both are loaded".to_owned())
        } else if at_the_end {
            let what = format!(
                "cut off in the middle ({count}, the step that was being written when its \
                 session ended); everything before it is loaded, the bytes are kept"
            );
            (FaultKind::Torn, what)
        } else {
            let what = format!(
                "damaged ({count}); this step is left out, the steps before and after it are \
                 loaded, the bytes are kept"
            );
            (FaultKind::Damaged, what)
        };
        self.damaged += 1;
        // One line of text was one or more lines; what is lost of them begins with the first.
        let first = lost.into_iter().next().unwrap_or(text.len()..text.len());
        self.faults.push(place.fault(kind, first, what));
    }
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PointPx, Track, TrackId};

    fn lines(count: u64) -> (Vec<u8>, Vec<Line>) {
        let (mut bytes, mut prev) = (Vec::new(), 7);
        for n in 0..count {
            let content = Track::new(format!("t{n}"), 0);
            let edits = vec![Edit::AddTrack { track: TrackId(n), content }];
            let record = Record::Step(Step { group: n, mark: Mark::Do, edits, made_from: None });
            let (line, own) = encode(n, n + 1, prev, 5, &record, &[]).expect("plain data");
            bytes.extend(line);
            prev = own;
        }
        let all = scan("x", &bytes, 0).lines;
        assert_eq!(all.len() as u64, count);
        (bytes, all)
    }

    #[test]
    fn a_bit_costs_at_most_its_own_line() {
        let (bytes, all) = lines(4);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut hurt = bytes.clone();
                hurt[at] ^= 1 << bit;
                let found = scan("x", &hurt, 0);
                assert!(
                    found.damaged > 0 && !found.faults.is_empty(),
                    "byte {at} bit {bit} unnoticed"
                );
                let lost = all.iter().filter(|line| !found.lines.contains(line)).count();
                assert!(lost <= 1, "byte {at} bit {bit} cost {lost} lines");
                assert!(found.lines.iter().all(|line| all.contains(line)));
            }
        }
    }

    #[test]
    fn a_line_of_tabs_costs_no_more_than_its_bytes() {
        let (good, all) = lines(1);
        let mut bytes = LINE_START.to_vec();
        bytes.extend(b"\t00000000".repeat(1 << 18));
        bytes.extend(good);
        let found = scan("x", &bytes, 0);
        assert_eq!((found.lines, found.damaged), (all, 1));
    }

    #[test]
    fn a_number_that_is_none_is_not_written() {
        let cursor = PointPx::new(f32::NAN, 0.0);
        let nowhere = View {
            frame: 0,
            cursor,
            track: None,
            finished: false,
            keys: 0,
            outside: None,
            look: None,
        };
        assert!(encode(0, 1, 0, 0, &Record::View(nowhere), &[]).is_none());
    }

    #[test]
    fn what_was_told_stands_beside_a_step_and_never_costs_it() {
        let (_, all) = lines(1);
        let Line { n, lam, prev, t, record, .. } = &all[0];
        let (bytes, _) = encode(*n, *lam, *prev, *t, record, &[u64::MAX, 7]).expect("plain data");
        assert_eq!(scan("x", &bytes, 0).lines[0].told, [u64::MAX, 7]);
        let json = br#"{"v":1,"n":0,"lam":1,"prev":"00000000","t":0,"group":1,"mark":"do","edits":[],"told":{"by":3}}"#;
        let mut bytes = json.to_vec();
        bytes.extend(format!("\t{:08x}\n", crc32fast::hash(json)).into_bytes());
        let found = scan("x", &bytes, 0);
        assert_eq!((found.lines.len(), found.damaged), (1, 0), "{:?}", found.faults);
    }

    #[test]
    fn what_a_newer_version_wrote_is_named_and_the_rest_counts() {
        let json = br#"{"v":1,"n":0,"lam":1,"prev":"00000000","t":0,"group":1,"mark":"do","edits":[{"set_ellipse":{"track":1}},{"set_windows":{"track":1,"before":[],"after":[]}}]}"#;
        let mut bytes = json.to_vec();
        bytes.extend(format!("\t{:08x}\n", crc32fast::hash(json)).into_bytes());
        let found = scan("x", &bytes, 0);
        let Record::Step(step) = &found.lines[0].record else { unreachable!("a step was written") };
        assert_eq!((step.edits.len(), found.damaged), (1, 0));
        assert!(found.faults[0].what.contains("set_ellipse"), "{:?}", found.faults);
        let json = br#"{"v":1,"n":0,"lam":1,"prev":"00000000","t":0,"view":{"frame":3,"cursor":{"x":1.0,"y":2.0},"track":null,"outside":"a polygon"}}"#;
        let mut bytes = json.to_vec();
        bytes.extend(format!("\t{:08x}\n", crc32fast::hash(json)).into_bytes());
        let found = scan("x", &bytes, 0);
        assert_eq!((found.lines.len(), found.damaged), (1, 0), "{:?}", found.faults);
        assert!(
            found.faults[0].what.contains("a view of a kind that this version"),
            "{:?}",
            found.faults
        );
    }
}
