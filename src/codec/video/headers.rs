//! What the headers of H.264 say of its pictures, as ffmpeg tells them.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use super::Reel;
use crate::codec::CodecError;
use crate::codec::tool::{self, Patient};

/// Of what ffmpeg says of headers so many bytes are read: those of some hundred pictures.
const MAX_TRACE: u64 = 1 << 20;
/// What the lines on headers have in common; others are of the file, and may hold anything.
const OF_HEADERS: &str = "trace_headers @";

/// What was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Headers {
    /// Anything but whole frames is allowed; also where nothing was told of it.
    pub(super) may_hold_fields: bool,
    /// So many packets are called whole, and with each of them decoding begins anew (IDR): no later frame needs an earlier
    /// one. 0 where that is not so or not known.
    pub(super) anew: usize,
}

/// Asks ffmpeg about the packets that are called whole; containers that cannot leave out the others tell of the first alone.
pub(super) fn headers(reel: &Reel) -> Result<Headers, CodecError> {
    let mut command = tool::limited("ffmpeg", tool::FRAME);
    command.args(["-nostdin", "-nostats", "-hide_banner", "-v", "info"]);
    Reel::restrict(&mut command);
    command.args(["-discard", "nokey"]);
    command.arg("-i").arg(tool::file_argument(&reel.read)).args(["-map", "0:v:0", "-c", "copy"]);
    command.args(["-bsf:v", "trace_headers", "-f", "null", "-"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| tool::not_started(&reel.shown, "ffmpeg", &e))?;
    let mut seen = Seen::default();
    if let Some(pipe) = child.stderr.take() {
        let mut lines = BufReader::new(Patient(pipe).take(MAX_TRACE));
        let through = seen.read(&mut lines) && lines.get_ref().limit() > 0;
        seen.all = through && child.wait().is_ok_and(|status| status.success());
    }
    tool::end(&mut child);
    Ok(seen.told())
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    may_hold_fields: Option<bool>,
    packets: usize,
    /// Packets with which decoding begins anew, and whether the last one is among them.
    anew: usize,
    last_is_anew: bool,
    /// Nothing is missing.
    all: bool,
}

impl Seen {
    /// Whether it came to the end: nothing more is read than what can change the answer.
    fn read(&mut self, lines: &mut impl BufRead) -> bool {
        // Titles and names among it may be in any encoding.
        lines.split(b'\n').all(|line| line.is_ok_and(|l| self.line(&String::from_utf8_lossy(&l))))
    }

    /// Whether more can change the answer.
    fn line(&mut self, line: &str) -> bool {
        let line = line.trim_end();
        if !line.contains(OF_HEADERS) {
            return true;
        }
        if line.contains(" frame_mbs_only_flag ") {
            let fields = !line.ends_with("= 1");
            self.may_hold_fields = Some(fields);
            return !fields;
        }
        if line.contains("Packet: ") {
            let sought = self.packets == self.anew || self.may_hold_fields.is_none();
            self.packets += 1;
            self.last_is_anew = false;
            return sought;
        }
        // One picture may come in several units.
        if !self.last_is_anew && line.contains(" nal_unit_type ") && line.ends_with("= 5") {
            self.last_is_anew = true;
            self.anew += 1;
        }
        true
    }

    fn told(&self) -> Headers {
        let sure = self.all && self.packets == self.anew;
        Headers {
            may_hold_fields: self.may_hold_fields.unwrap_or(true),
            anew: if sure { self.anew } else { 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEQUENCE: &str = "[trace_headers @ 0x1] 62          frame_mbs_only_flag        1 = 1";
    const PACKET: &str = "[trace_headers @ 0x1] Packet: 30 bytes, key frame, pts 0, dts 0.";
    const ANEW: &str = "[trace_headers @ 0x1] 3           nal_unit_type          00101 = 5";
    const OTHER: &str = "[trace_headers @ 0x1] 3           nal_unit_type          00001 = 1";

    /// What these lines tell, and whether they were read to the end.
    fn told(lines: &[&str]) -> (bool, usize, bool) {
        let mut seen = Seen::default();
        seen.all = seen.read(&mut lines.join("\n").as_bytes());
        let told = seen.told();
        (told.may_hold_fields, told.anew, seen.all)
    }

    #[test]
    fn packets_are_trusted_where_each_begins_anew() {
        assert_eq!(told(&[SEQUENCE, PACKET, ANEW, ANEW, PACKET, ANEW]), (false, 2, true));
        // Intra refresh: a packet is called whole from which a picture comes about little by little.
        assert_eq!(told(&[SEQUENCE, PACKET, ANEW, PACKET, OTHER]), (false, 0, true));
        // The next one is not waited for then.
        assert_eq!(told(&[SEQUENCE, PACKET, ANEW, PACKET, OTHER, PACKET]), (false, 0, false));
        // What a title says is no header.
        assert_eq!(told(&["  title : nal_unit_type = 5", SEQUENCE, PACKET]), (false, 0, true));
    }

    #[test]
    fn fields_are_possible_where_headers_say_so_or_nothing() {
        let fields = SEQUENCE.replace("= 1", "= 0");
        assert_eq!(told(&[&fields, PACKET, ANEW]), (true, 0, false));
        assert_eq!(told(&["nothing"]), (true, 0, true));
        // Parameters come in the packet that is not whole.
        assert_eq!(told(&[PACKET, OTHER, PACKET, SEQUENCE, OTHER]), (false, 0, true));
    }
}
