//! Which remembered frames a frame attends to: indices only, no tensors.
//!
//! Right when, for every frame, direction and clip length, the list of frames, their time rows and the signed
//! pointer distances equal those of SAM 2's `SAM2Base._prepare_memory_conditioned_features` and
//! `select_closest_cond_frames`, in the same order (the order decides which keys rotate by which table row), and when
//! [`retention`] never calls a memory unreadable that [`recall`] could still ask for.

/// The way a propagation walks through the clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Frame numbers rise; frames with lower numbers are the past.
    Forward,
    /// Frame numbers fall; frames with higher numbers are the past.
    Reverse,
}

impl Direction {
    /// The frame `distance` steps earlier in this walk, `None` before the first or after the last frame of the clip.
    pub fn back(self, frame: usize, distance: usize, num_frames: usize) -> Option<usize> {
        match self {
            Direction::Forward => frame.checked_sub(distance),
            Direction::Reverse => frame.checked_add(distance).filter(|f| *f < num_frames),
        }
    }

    /// How many steps of this walk lie between `earlier` and `frame`; negative when `earlier` is still to come.
    pub fn distance(self, frame: usize, earlier: usize) -> i64 {
        let difference = frame as i64 - earlier as i64;
        match self {
            Direction::Forward => difference,
            Direction::Reverse => -difference,
        }
    }
}

/// The numbers of a model card that decide what is recalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankRules {
    /// Memories a frame can attend to: one conditioning slot and `num_maskmem - 1` recent frames.
    pub num_maskmem: usize,
    /// Most object pointers of one clip (`max_obj_ptrs_in_encoder`), before the clip length caps it.
    pub max_obj_ptrs: usize,
    /// Most conditioning frames attended to; `None` = all of them (upstream's -1).
    pub max_cond_frames_in_attn: Option<usize>,
    /// Temporal stride `r`: the last frame, then every r-th one (`memory_temporal_stride_for_eval`).
    pub stride: usize,
    /// Conditioning frames that lie ahead give no pointer (`only_obj_ptrs_in_the_past_for_eval`); training turns it off.
    pub past_pointers_only: bool,
}

impl Default for BankRules {
    fn default() -> Self {
        Self {
            num_maskmem: 7,
            max_obj_ptrs: 16,
            max_cond_frames_in_attn: None,
            stride: 1,
            past_pointers_only: true,
        }
    }
}

impl BankRules {
    /// Pointers a clip of `num_frames` frames may use: the clip length caps the setting, so results depend on it.
    pub fn max_ptrs(&self, num_frames: usize) -> usize {
        self.max_obj_ptrs.min(num_frames)
    }

    /// The frame that memory slot `t_pos` (1..num_maskmem) of `frame` looks at; `None` outside the clip.
    fn slot(
        &self,
        frame: usize,
        t_pos: usize,
        direction: Direction,
        num_frames: usize,
    ) -> Option<usize> {
        let back = (self.num_maskmem - t_pos) as i64;
        let (frame, stride) = (frame as i64, self.stride.max(1) as i64);
        let found = match direction {
            Direction::Forward if back == 1 => frame - 1,
            Direction::Reverse if back == 1 => frame + 1,
            Direction::Forward => (frame - 2).div_euclid(stride) * stride - (back - 2) * stride,
            Direction::Reverse => -(-(frame + 2)).div_euclid(stride) * stride + (back - 2) * stride,
        };
        usize::try_from(found).ok().filter(|f| *f < num_frames)
    }
}

/// A frame whose mask memory is attended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpatialRecall {
    /// Frame the memory was made on.
    pub frame: usize,
    /// 0 for a conditioning frame, else 1 (oldest) ..= num_maskmem - 1 (the previous frame).
    pub t_pos: usize,
}

/// A frame whose object pointer is attended to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointerRecall {
    /// Frame the pointer was made on.
    pub frame: usize,
    /// Steps of the walk since that frame; negative when it lies ahead (training only).
    pub distance: i64,
}

/// Everything one frame attends to, in token order: all of `spatial`, then all of `pointers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recall {
    /// Mask memories: conditioning frames in the order they were added, then recent ones, oldest first.
    pub spatial: Vec<SpatialRecall>,
    /// Object pointers: conditioning frames first, then distances 1, 2, ...
    pub pointers: Vec<PointerRecall>,
}

/// What `frame` attends to in a walk in `direction`.
///
/// `cond` lists the conditioning frames in the order they were added, `remembered` says whether a frame has a
/// non-conditioning memory. Frames without a memory are skipped, never padded.
pub fn recall(
    rules: &BankRules,
    cond: &[usize],
    remembered: impl Fn(usize) -> bool,
    frame: usize,
    direction: Direction,
    num_frames: usize,
) -> Recall {
    let selected = select_cond_frames(cond, frame, rules.max_cond_frames_in_attn);
    let spare = |f: usize| cond.contains(&f) && !selected.contains(&f);
    let has = |f: &usize| remembered(*f) || spare(*f);

    let mut spatial: Vec<_> =
        selected.iter().map(|&frame| SpatialRecall { frame, t_pos: 0 }).collect();
    for t_pos in 1..rules.num_maskmem {
        let slot = rules.slot(frame, t_pos, direction, num_frames).filter(has);
        spatial.extend(slot.map(|frame| SpatialRecall { frame, t_pos }));
    }

    let mut pointers: Vec<_> = selected
        .iter()
        .map(|&f| PointerRecall { frame: f, distance: direction.distance(frame, f) })
        .filter(|p| p.distance >= 0 || !rules.past_pointers_only)
        .collect();
    for steps in 1..rules.max_ptrs(num_frames) {
        let Some(f) = direction.back(frame, steps, num_frames) else { break };
        if has(&f) {
            pointers.push(PointerRecall { frame: f, distance: steps as i64 });
        }
    }
    Recall { spatial, pointers }
}

/// The conditioning frames attended to: all of them, or, when `limit` caps them, the closest one before `frame`, the
/// closest one at or after it, then the nearest others. `limit` below 2 counts as 2, as upstream demands.
pub fn select_cond_frames(cond: &[usize], frame: usize, limit: Option<usize>) -> Vec<usize> {
    let limit = match limit {
        Some(n) if cond.len() > n.max(2) => n.max(2),
        _ => return cond.to_vec(),
    };
    let mut chosen = Vec::with_capacity(limit);
    chosen.extend(cond.iter().copied().filter(|f| *f < frame).max());
    chosen.extend(cond.iter().copied().filter(|f| *f >= frame).min());
    let mut others: Vec<_> = cond.iter().copied().filter(|f| !chosen.contains(f)).collect();
    others.sort_by_key(|f| f.abs_diff(frame)); // stable: equal distances keep the order of adding
    chosen.extend(others.into_iter().take(limit - chosen.len()));
    chosen
}

/// How much of a non-conditioning memory a walk can still ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retention {
    /// No frame still to come reads anything of it.
    Nothing,
    /// Only its object pointer can be read.
    Pointer,
    /// Its mask memory can be read (and perhaps its pointer).
    Whole,
}

/// What a walk in `direction` whose next frame is `next` can still read of the memory of `stored`.
pub fn retention(
    rules: &BankRules,
    stored: usize,
    next: usize,
    direction: Direction,
    num_frames: usize,
) -> Retention {
    if direction.distance(next, stored) <= 0 {
        return Retention::Whole; // still ahead: it will be decided anew or read later
    }
    // The oldest slot never reaches further back than this; a longer search finds nothing new.
    let reach = 2 + rules.num_maskmem * rules.stride.max(1);
    for ahead in 0..=reach {
        let reader = match direction {
            Direction::Forward => next.checked_add(ahead).filter(|f| *f < num_frames),
            Direction::Reverse => next.checked_sub(ahead),
        };
        let Some(reader) = reader else { break };
        let reads = |t_pos| rules.slot(reader, t_pos, direction, num_frames) == Some(stored);
        if (1..rules.num_maskmem).any(reads) {
            return Retention::Whole;
        }
    }
    let steps = direction.distance(next, stored);
    if steps < rules.max_ptrs(num_frames) as i64 { Retention::Pointer } else { Retention::Nothing }
}

/// Frames whose non-conditioning memory may contradict new input on `frame`: `stride * num_maskmem` to either side,
/// `frame` itself included (`clear_non_cond_mem_around_input`, whose upstream method does not exist).
pub fn stale_around(rules: &BankRules, frame: usize) -> std::ops::RangeInclusive<usize> {
    let reach = rules.stride.max(1) * rules.num_maskmem;
    frame.saturating_sub(reach)..=frame.saturating_add(reach)
}

#[cfg(test)]
mod tests {
    use super::Direction::{Forward, Reverse};
    use super::*;

    fn rules(num_maskmem: usize) -> BankRules {
        BankRules { num_maskmem, ..BankRules::default() }
    }
    fn pairs(r: &Recall) -> Vec<(usize, usize)> {
        r.spatial.iter().map(|s| (s.frame, s.t_pos)).collect()
    }
    fn ptrs(r: &Recall) -> Vec<(usize, i64)> {
        r.pointers.iter().map(|p| (p.frame, p.distance)).collect()
    }

    #[test]
    fn recent_frames_come_oldest_first_and_missing_ones_are_skipped() {
        let r = recall(&rules(7), &[0], |f| (1..10).contains(&f) && f != 6, 9, Forward, 20);
        assert_eq!(pairs(&r), [(0, 0), (3, 1), (4, 2), (5, 3), (7, 5), (8, 6)]);
    }

    #[test]
    fn reverse_walk_reads_the_frames_after() {
        let r = recall(&rules(4), &[5], |f| (2..5).contains(&f), 1, Reverse, 6);
        assert_eq!(pairs(&r), [(5, 0), (4, 1), (3, 2), (2, 3)]);
        assert_eq!(ptrs(&r), [(5, 4), (2, 1), (3, 2), (4, 3)]);
    }

    #[test]
    fn conditioning_frames_keep_the_order_of_adding_and_lie_on_both_sides() {
        let r = recall(&rules(4), &[8, 2], |_| false, 4, Forward, 10);
        assert_eq!(pairs(&r), [(8, 0), (2, 0)]);
    }

    #[test]
    fn pointers_of_conditioning_frames_ahead_are_left_out_unless_training() {
        let mut rules = rules(4);
        let walk = |rules: &BankRules, d| ptrs(&recall(rules, &[8, 2], |_| false, 4, d, 10));
        assert_eq!(walk(&rules, Forward), [(2, 2)]);
        assert_eq!(walk(&rules, Reverse), [(8, 4)]);
        rules.past_pointers_only = false;
        assert_eq!(walk(&rules, Forward), [(8, -4), (2, 2)]);
    }

    #[test]
    fn a_corrected_conditioning_frame_reads_itself_at_distance_zero() {
        let r = recall(&rules(4), &[0, 3], |f| f == 1 || f == 2, 3, Forward, 8);
        assert_eq!(pairs(&r), [(0, 0), (3, 0), (1, 2), (2, 3)]);
        assert_eq!(ptrs(&r), [(0, 3), (3, 0), (2, 1), (1, 2)]);
    }

    #[test]
    fn pointer_count_is_capped_by_sixteen_and_by_the_clip_length() {
        assert_eq!((rules(7).max_ptrs(6), rules(7).max_ptrs(400)), (6, 16));
        let long = recall(&rules(7), &[0], |f| f > 0, 99, Forward, 400);
        assert_eq!(long.pointers.len(), 1 + 15);
        let short = recall(&rules(7), &[0], |f| f > 0, 5, Forward, 6);
        assert_eq!(ptrs(&short), [(0, 5), (4, 1), (3, 2), (2, 3), (1, 4)]);
    }

    #[test]
    fn pointers_stop_at_the_ends_of_the_clip() {
        assert_eq!(ptrs(&recall(&rules(7), &[], |_| true, 2, Forward, 400)), [(1, 1), (0, 2)]);
        assert_eq!(ptrs(&recall(&rules(7), &[], |_| true, 398, Reverse, 400)), [(399, 1)]);
    }

    #[test]
    fn capped_conditioning_frames_are_one_before_one_after_then_nearest() {
        let cond = [0, 10, 20, 30, 40];
        assert_eq!(select_cond_frames(&cond, 21, Some(3)), [20, 30, 10]);
        assert_eq!(select_cond_frames(&cond, 20, Some(2)), [10, 20]);
        assert_eq!(select_cond_frames(&cond, 50, Some(3)), [40, 30, 20]);
        assert_eq!(select_cond_frames(&cond, 21, Some(5)), cond);
        assert_eq!(select_cond_frames(&cond, 21, None), cond);
    }

    #[test]
    fn unselected_conditioning_frames_serve_as_recent_frames() {
        let capped = BankRules { max_cond_frames_in_attn: Some(2), ..rules(4) };
        let r = recall(&capped, &[0, 7, 8, 9], |_| false, 10, Forward, 12);
        assert_eq!(pairs(&r), [(9, 0), (8, 0), (7, 1)]);
        assert_eq!(ptrs(&r), [(9, 1), (8, 2), (7, 3), (0, 10)]);
    }

    #[test]
    fn stride_takes_the_last_frame_then_every_rth() {
        let strided = BankRules { stride: 3, ..rules(5) };
        assert_eq!(
            pairs(&recall(&strided, &[], |_| true, 12, Forward, 30)),
            [(3, 1), (6, 2), (9, 3), (11, 4)]
        );
        assert_eq!(
            pairs(&recall(&strided, &[], |_| true, 12, Reverse, 30)),
            [(21, 1), (18, 2), (15, 3), (13, 4)]
        );
    }

    #[test]
    fn nothing_a_later_frame_reads_is_called_unreadable() {
        let n = 60;
        for stride in 1..4 {
            let rules = BankRules { stride, ..rules(7) };
            for direction in [Forward, Reverse] {
                for next in 0..n {
                    let later: Vec<_> =
                        (0..n).filter(|f| direction.distance(*f, next) >= 0).collect();
                    for stored in (0..n).filter(|f| direction.distance(next, *f) > 0) {
                        let reads =
                            |f: &usize| recall(&rules, &[], |g| g == stored, *f, direction, n);
                        let all: Vec<_> = later.iter().map(reads).collect();
                        let expected = if all.iter().any(|r| !r.spatial.is_empty()) {
                            Retention::Whole
                        } else if all.iter().any(|r| !r.pointers.is_empty()) {
                            Retention::Pointer
                        } else {
                            Retention::Nothing
                        };
                        assert_eq!(
                            retention(&rules, stored, next, direction, n),
                            expected,
                            "{stored} at {next}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_walk_keeps_a_bounded_number_of_memories() {
        let kept = |next| {
            (0..next)
                .filter(|f| retention(&rules(7), *f, next, Forward, 5000) > Retention::Nothing)
                .count()
        };
        assert_eq!((kept(100), kept(4000)), (15, 15));
    }

    #[test]
    fn stale_memories_lie_within_num_maskmem_strides() {
        assert_eq!(stale_around(&rules(7), 10), 3..=17);
        assert_eq!(stale_around(&BankRules { stride: 2, ..rules(4) }, 3), 0..=11);
    }
}
