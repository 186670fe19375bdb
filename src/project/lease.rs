//! Who else has a clip open: told as a courtesy, never needed for being right.
//!
//! A session's file under `sessions/` says who and where. On the same machine the process is
//! looked up; elsewhere a file counts as alive when its owner touched it within the last two
//! minutes by the clock of the file server, so that clocks of machines need not agree.

use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Modes, read_regular};
use crate::codec::process::{boot, started_ticks};
use crate::domain::{ContentHash, shown};

const BEAT: Duration = Duration::from_secs(30);
const SILENT: Duration = Duration::from_secs(120);
/// A machine of this one's name that was started at another time is this one before, unless two have the same name: after
/// such a silence the session has ended in either case.
const GONE: Duration = Duration::from_secs(86_400);
/// Nobody can be asked on another machine, nor in another container of this one; but none of them sleeps for a month. Who
/// did all the same writes its file again as soon as it wakes.
const LOST: Duration = Duration::from_secs(30 * 86_400);

/// Who is annotating and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// Account name.
    pub(super) user: String,
    /// Machine.
    pub(super) host: String,
    /// Process.
    pid: u32,
    /// When the process started, in the kernel's ticks since boot.
    started_ticks: u64,
    /// Which boot and process namespace the two above belong to.
    boot: String,
    /// Clip that is open.
    clip: ContentHash,
    /// Since when, ms since 1970 by the holder's clock.
    pub(super) since_ms: u64,
}

impl Holder {
    /// This process.
    pub(super) fn here(user: String, clip: &ContentHash, now_ms: u64) -> Self {
        let pid = std::process::id();
        Self {
            user,
            host: host(),
            pid,
            started_ticks: started_ticks(pid).unwrap_or(0),
            boot: boot(),
            clip: clip.clone(),
            since_ms: now_ms,
        }
    }

    /// A fresh session name and its random part: UTC stamp, user, host, process, 32 random bits.
    pub(super) fn new_session(&self, seed: u32) -> String {
        let (user, host) = (safe(&self.user), safe(&self.host));
        format!("{}-{user}-{host}-{}-{seed:08x}", stamp(self.since_ms), self.pid)
    }

    /// "anna on gpu1 since 10:12 UTC".
    fn describe(&self, now_ms: u64) -> String {
        let stamp = stamp(self.since_ms);
        let clock = format!("{}:{} UTC", &stamp[9..11], &stamp[11..13]);
        let day = format!("{}-{}-{}", &stamp[..4], &stamp[4..6], &stamp[6..8]);
        let same_day = self.since_ms / 86_400_000 == now_ms / 86_400_000;
        let since = if same_day { clock } else { format!("{day} {clock}") };
        format!("{} on {} since {since}", shown(&self.user), shown(&self.host))
    }

    /// Whether it is this process for the same account: a clip that is opened again, or twice in a queue.
    fn is_ours(&self, here: &Holder) -> bool {
        let Self { user, host, pid, started_ticks, boot, .. } = here;
        let process = (&self.pid, &self.started_ticks) == (pid, started_ticks);
        process && (&self.user, &self.host, &self.boot) == (user, host, boot)
    }

    /// Whether the process on this machine still runs; `None` when it lives elsewhere.
    fn runs_here(&self, here: &Holder) -> Option<bool> {
        let known = self.started_ticks != 0 && !self.boot.is_empty();
        (known && self.host == here.host && self.boot == here.boot)
            .then(|| started_ticks(self.pid) == Some(self.started_ticks))
    }

    /// Whether it was on a machine of the same name that was started at another time.
    fn of_another_start(&self, here: &Holder) -> bool {
        let [own, other] = [here, self].map(|holder| holder.boot.split(' ').next().unwrap_or(""));
        self.host == here.host && ![own, other].contains(&"") && own != other
    }
}

/// The account's name, also where a container or a timer sets no variables.
pub(super) fn user() -> String {
    let from = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    // SAFETY: it reads a number of this process and cannot fail.
    let uid = unsafe { libc::geteuid() };
    from("USER").or_else(|| from("LOGNAME")).unwrap_or_else(|| account(uid))
}

/// The name of the account `uid`, or `uid1000` where none is listed.
fn account(uid: libc::uid_t) -> String {
    let mut texts = vec![0u8; 16 << 10];
    let mut entry = std::mem::MaybeUninit::<libc::passwd>::uninit();
    let mut found = std::ptr::null_mut();
    let space = (texts.as_mut_ptr().cast(), texts.len());
    // SAFETY: entry, texts and found are ours and outlive the call, which is told their sizes.
    let fault = unsafe { libc::getpwuid_r(uid, entry.as_mut_ptr(), space.0, space.1, &mut found) };
    let listed = (fault == 0 && !found.is_null()).then(|| {
        // SAFETY: the call succeeded and found something: the name is a text that ends in `texts`.
        let name = unsafe { CStr::from_ptr((*found).pw_name) };
        name.to_string_lossy().into_owned()
    });
    listed.filter(|name| !name.is_empty()).unwrap_or_else(|| format!("uid{uid}"))
}

/// The user part of a session's name, as [`safe`] wrote it.
pub(super) fn user_of(session: &str) -> &str {
    session.split('-').nth(1).unwrap_or("")
}

/// The machine part of a session's name, as [`safe`] wrote it.
pub(super) fn host_of(session: &str) -> &str {
    session.split('-').nth(2).unwrap_or("")
}

/// The random part of a session's name.
pub(super) fn seed_of(session: &str) -> Option<u32> {
    u32::from_str_radix(session.rsplit('-').next()?, 16).ok()
}

/// `text` as a part of a file name: letters, digits, dot and underscore stay, other bytes become
/// `=xx`, so that two names never become one unless they are very long.
pub(super) fn safe(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("={byte:02x}"));
        }
        if out.len() >= 40 {
            break;
        }
    }
    out
}

/// UTC for people: `2026-08-21 10:12:05 UTC`.
#[must_use]
pub fn moment(ms: u64) -> String {
    let stamp = stamp(ms);
    let part = |from: usize, to: usize| stamp.get(from..to).unwrap_or_default();
    let day = [part(0, 4), part(4, 6), part(6, 8)].join("-");
    format!("{day} {}:{}:{} UTC", part(9, 11), part(11, 13), part(13, 15))
}

/// UTC as `20260821T101205Z`.
fn stamp(ms: u64) -> String {
    let (days, s) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Civil date from days since 1970, proleptic Gregorian, years starting in March.
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = (year_of_era + era * 400 + u64::from(month <= 2)) % 10_000;
    let (hour, minute, second) = (s / 3600, s / 60 % 60, s % 60);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// When a session was opened, by the stamp in its name, ms since 1970; whole seconds.
pub(super) fn opened_ms(session: &str) -> Option<u64> {
    let stamp = session.split('-').next().filter(|s| s.len() == 16 && s.is_ascii())?;
    let part = |from: usize, to: usize| stamp.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(4, 6)?, part(6, 8)?);
    let shifted = (month.checked_sub(1)? + 10) % 12;
    // The inverse of `stamp`: years starting in March.
    let year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * shifted + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    let seconds = part(9, 11)? * 3600 + part(11, 13)? * 60 + part(13, 15)?;
    Some((days * 86_400 + seconds) * 1000)
}

/// The own file under `sessions/`; removed when dropped.
#[derive(Debug)]
pub(super) struct Lease {
    path: PathBuf,
    file: File,
    bytes: Vec<u8>,
    mode: u32,
    touched: Instant,
}

impl Lease {
    /// Says that `holder` has its clip open.
    pub(super) fn take(
        folder: &Path,
        session: &str,
        holder: &Holder,
        modes: Modes,
    ) -> io::Result<Self> {
        modes.make_folder(folder)?;
        let path = folder.join(format!("{session}.json"));
        let bytes = serde_json::to_vec(holder)?;
        let file = created(&path, modes.file)?;
        if let Err(cause) = file.write_all_at(&bytes, 0) {
            // On a full disk: an empty file says nothing and nobody would take it away.
            let _ = fs::remove_file(&path);
            return Err(cause);
        }
        Ok(Self { path, file, bytes, mode: modes.file, touched: Instant::now() })
    }

    /// Tells the others that this session lives; cheap, at most one write in 30 s.
    pub(super) fn beat(&mut self) {
        if self.touched.elapsed() < BEAT {
            return;
        }
        self.touched = Instant::now();
        let found = fs::symlink_metadata(&self.path);
        if found.is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
            && let Ok(file) = created(&self.path, self.mode)
        {
            self.file = file;
        }
        // The write, not a given time, sets the file's time: it is the server's clock that counts.
        let _ = self.file.write_all_at(&self.bytes, 0);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A new file; not for appending, for the heartbeat writes the same bytes over again.
fn created(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(path)
}

/// A session of somebody (or of the same user elsewhere) that has the clip open now.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alive {
    /// Its name.
    pub(super) session: String,
    /// For people; `None` for another session of this account in this very process, of which there is nothing to tell.
    pub(super) text: Option<String>,
}

/// The sessions, other than `own`, that have the clip of `here` open. With `tidy`, files of
/// processes that are known to have ended on this machine, now or before it was started, are
/// removed (they hold no work), as are those that nobody touched for a month.
pub(super) fn alive(folder: &Path, own: &str, here: &Holder, tidy: bool) -> Vec<Alive> {
    let held = alive_on_any(folder, own, here, tidy).into_iter();
    held.filter(|(clip, _)| *clip == here.clip).map(|(_, alive)| alive).collect()
}

/// As [`alive`], of every clip: each session with the clip that it has open.
pub(super) fn alive_on_any(
    folder: &Path,
    own: &str,
    here: &Holder,
    tidy: bool,
) -> Vec<(ContentHash, Alive)> {
    let touched = |path: &Path| fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
    let own_touched = touched(&folder.join(format!("{own}.json")));
    // The clock of this machine may be wrong by years: by that nobody is gone.
    let by_server = own_touched.is_some();
    let now = own_touched.unwrap_or_else(SystemTime::now);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let Some(session) = name.to_str().and_then(|name| name.strip_suffix(".json")) else {
            continue;
        };
        if session == own {
            continue;
        }
        // A time that lies ahead is no silence.
        let silence = || touched(&path).map(|at| now.duration_since(at).unwrap_or_default());
        let silent = |least: Duration| by_server && silence().is_some_and(|age| age >= least);
        let holder =
            read_regular(&path).ok().and_then(|b| serde_json::from_slice::<Holder>(&b).ok());
        let runs = holder.as_ref().and_then(|holder| holder.runs_here(here));
        let over = || match &holder {
            Some(_) if runs.is_some() => runs == Some(false),
            Some(holder) => silent(if holder.of_another_start(here) { GONE } else { LOST }),
            // Torn by a power cut, or of a newer version.
            None => opened_ms(session).is_some() && silent(LOST),
        };
        if tidy && over() {
            let _ = fs::remove_file(&path);
            continue;
        }
        let Some(holder) = holder else { continue };
        if runs.unwrap_or_else(|| silence().is_some_and(|age| age < SILENT)) {
            let text = (!holder.is_ours(here)).then(|| holder.describe(here.since_ms));
            found.push((holder.clip, Alive { session: session.to_owned(), text }));
        }
    }
    found.sort_by(|(_, a), (_, b)| a.session.cmp(&b.session));
    found
}

fn host() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = kernel.or_else(|| std::env::var("HOSTNAME").ok()).unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "unknown".to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_named_without_variables() {
        // Of every system's first account the name is known.
        assert_eq!(account(0), "root");
        assert_eq!(account(4_100_200_300), "uid4100200300");
    }

    #[test]
    fn stamps_are_utc() {
        assert_eq!(stamp(0), "19700101T000000Z");
        assert_eq!(moment(1_709_210_096_789), "2024-02-29 12:34:56 UTC");
        assert_eq!(stamp(1_709_210_096_789), "20240229T123456Z");
        assert_eq!(stamp(4_102_444_799_000), "20991231T235959Z");
        for ms in [0, 1_709_210_096_000, 4_102_444_799_000] {
            assert_eq!(opened_ms(&format!("{}-anna-gpu1-7-00000000", stamp(ms))), Some(ms));
        }
        for odd in ["", "anna", "20240229T1234-x", "00000000T000000Z-x"] {
            assert_eq!(opened_ms(odd), None);
        }
    }

    #[test]
    fn sessions_elsewhere_count_while_they_are_touched_whatever_the_clocks_say() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("sessions");
        let clip = ContentHash("a".repeat(64));
        let here = Holder::here("ben".into(), &clip, 0);
        let lease = Lease::take(&folder, "own", &here, Modes::PRIVATE).expect("taken");
        let own = folder.join("own.json");
        let now = fs::metadata(&own).and_then(|meta| meta.modified()).expect("a time");
        let put = |name: &str, holder: &Holder, time: SystemTime| {
            let path = folder.join(format!("{name}.json"));
            fs::write(&path, serde_json::to_vec(holder).expect("JSON")).expect("written");
            let file = File::options().write(true).open(&path).expect("opened");
            file.set_modified(time).expect("a time");
        };
        let far = Holder { user: "anna".into(), host: "far away".into(), ..here.clone() };
        put("fresh", &far, now - SILENT / 2);
        put("silent", &far, now - SILENT * 2);
        // The server's clock went back since, or is ahead of itself.
        put("ahead", &far, now + SILENT * 1000);
        let elsewhere = ContentHash("b".repeat(64));
        put("other-clip", &Holder { clip: elsewhere, ..far.clone() }, now);
        // A process of this machine that has ended, killed perhaps, a moment ago.
        let ended = Holder { started_ticks: here.started_ticks + 1, ..here.clone() };
        put("ended", &ended, now);
        // From before this machine was started; one of the same name may still be there.
        let before = Holder { boot: "another start".into(), ..here.clone() };
        put("before", &before, now - GONE);
        put("namesake", &before, now - GONE / 2);
        put("abroad", &Holder { host: far.host.clone(), ..before }, now - GONE * 2);
        // A machine that is no more, and a process of this one that only did not touch its file.
        put("lost", &far, now - LOST);
        put("still", &Holder { user: "carl".into(), ..here.clone() }, now - LOST * 2);
        fs::write(folder.join("broken.json"), "{").expect("written");
        // As a power cut leaves one, and what is none.
        let torn = "20240229T123456Z-anna-gpu1-7-00000000";
        for name in [torn, "notes"] {
            put(name, &here, now);
            let file = File::options().write(true).open(folder.join(format!("{name}.json")));
            let file = file.expect("opened");
            file.set_len(0).and_then(|()| file.set_modified(now - LOST)).expect("a time");
        }
        let names = |tidy: bool| -> Vec<String> {
            alive(&folder, "own", &here, tidy).into_iter().map(|each| each.session).collect()
        };
        assert_eq!(names(false), ["ahead", "fresh", "still"]);
        let on_any = alive_on_any(&folder, "own", &here, false).into_iter();
        let on_any: Vec<String> = on_any.map(|(_, each)| each.session).collect();
        assert_eq!(on_any, ["ahead", "fresh", "other-clip", "still"]);
        for name in ["ended", "before", "lost", torn] {
            let path = folder.join(format!("{name}.json"));
            assert!(path.exists(), "who only looks removes nothing");
        }
        let left = |name: &str| folder.join(format!("{name}.json")).exists();
        // Without an own file there is only the clock of this machine.
        drop(lease);
        assert!(!own.exists());
        assert_eq!(names(true), ["ahead", "fresh", "still"]);
        assert_eq!(["ended", "before", "lost", torn].map(left), [false, true, true, true]);
        let mut lease = Lease::take(&folder, "own", &here, Modes::PRIVATE).expect("taken");
        assert_eq!(names(true), ["ahead", "fresh", "still"]);
        assert_eq!(["ended", "before", "lost", torn].map(left), [false; 4]);
        assert_eq!(["silent", "namesake", "abroad", "broken", "notes"].map(left), [true; 5]);
        // Who was taken for lost is there again with the next beat.
        fs::remove_file(&own).expect("there");
        lease.beat();
        assert!(!own.exists(), "not before it is due");
        lease.touched -= BEAT;
        lease.beat();
        assert_eq!(fs::read(&own).expect("there again"), lease.bytes);
        drop(lease);
        assert!(!own.exists());
    }

    #[test]
    fn session_names_are_safe_and_tell_users_apart() {
        let holder = Holder::here("an-na/../x".into(), &ContentHash("a".repeat(64)), 0);
        let name = holder.new_session(0xdead_beef);
        assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._=-".contains(&b)), "{name}");
        assert_eq!(user_of(&name), safe("an-na/../x"));
        assert_eq!(host_of(&name), safe(&holder.host));
        assert_ne!(safe("an-na"), safe("an_na"));
        assert_eq!(seed_of(&name), Some(0xdead_beef));
    }
}
