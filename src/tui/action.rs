//! Everything a key, the command line and the palette can name: one table.
//!
//! The table is the enum, the names in `keymaps/*.yaml`, the help page, the palette and the
//! README's key list. Events of the machine (a finished job, a resize) are not here: no key can
//! name them.

/// Where in the help an action is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// The crosshair.
    Cursor,
    /// Moving through the clip.
    Frames,
    /// Points and boxes: what the person tells the network.
    Prompts,
    /// Points by direction.
    Rays,
    /// Masks changed by hand.
    Masks,
    /// Windows of visibility.
    Windows,
    /// Structures.
    Tracks,
    /// What the network is asked to do.
    Network,
    /// Frames that deserve a look.
    Review,
    /// Repeats, places, registers, macros.
    Language,
    /// How the picture is shown.
    View,
    /// Files, help, leaving.
    Program,
    /// Inside the help page and the command line.
    Dialogs,
}

impl Group {
    /// Heading in the help.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Group::Cursor => "Cursor",
            Group::Frames => "Frames",
            Group::Prompts => "Points and boxes",
            Group::Rays => "Clock rays (the first key opens them, the others count inside them)",
            Group::Masks => "Masks by hand",
            Group::Windows => "Windows of visibility",
            Group::Tracks => "Structures",
            Group::Network => "Network",
            Group::Review => "Review",
            Group::Language => "Repeats, places, registers, macros",
            Group::View => "Picture",
            Group::Program => "Program",
            Group::Dialogs => "Inside help and command line",
        }
    }
}

macro_rules! actions {
    ($($group:ident: { $($variant:ident $name:literal $doc:literal,)* })*) => {
        /// What a key can do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Action { $($(#[doc = $doc] $variant,)*)* }

        impl Action {
            /// Every action in the order of the table.
            pub const ALL: &[Action] = &[$($(Action::$variant,)*)*];

            /// Its name in keymaps and on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $($(Action::$variant => $name,)*)* }
            }

            /// One line for people.
            #[must_use]
            pub fn doc(self) -> &'static str {
                match self { $($(Action::$variant => $doc,)*)* }
            }

            /// Where it is listed.
            #[must_use]
            pub fn group(self) -> Group {
                match self { $($(Action::$variant => Group::$group,)*)* }
            }
        }
    };
}

impl Action {
    /// Rays by the hours of a clock, from 1 to 12.
    pub const HOURS: [Self; 12] = [
        Self::Ray1,
        Self::Ray2,
        Self::Ray3,
        Self::Ray4,
        Self::Ray5,
        Self::Ray6,
        Self::Ray7,
        Self::Ray8,
        Self::Ray9,
        Self::Ray10,
        Self::Ray11,
        Self::Ray12,
    ];

    /// Leaps into the ninths of the picture, in the order of reading.
    pub const LEAPS: [Self; 9] = [
        Self::LeapNorthWest,
        Self::LeapNorth,
        Self::LeapNorthEast,
        Self::LeapWest,
        Self::LeapMiddle,
        Self::LeapEast,
        Self::LeapSouthWest,
        Self::LeapSouth,
        Self::LeapSouthEast,
    ];
}

actions! {
    Cursor: {
        CursorLeft       "cursor-left"        "move the cursor left by 1 px, or by the count",
        CursorDown       "cursor-down"        "move the cursor down by 1 px, or by the count",
        CursorUp         "cursor-up"          "move the cursor up by 1 px, or by the count",
        CursorRight      "cursor-right"       "move the cursor right by 1 px, or by the count",
        CursorFarLeft    "cursor-far-left"    "move the cursor left by 8 px",
        CursorFarDown    "cursor-far-down"    "move the cursor down by 8 px",
        CursorFarUp      "cursor-far-up"      "move the cursor up by 8 px",
        CursorFarRight   "cursor-far-right"   "move the cursor right by 8 px",
        CursorCellLeft   "cursor-cell-left"   "move the cursor left by one cell of the screen",
        CursorCellDown   "cursor-cell-down"   "move the cursor down by one cell of the screen",
        CursorCellUp     "cursor-cell-up"     "move the cursor up by one cell of the screen",
        CursorCellRight  "cursor-cell-right"  "move the cursor right by one cell of the screen",
        CursorCentre     "cursor-centre"      "put the cursor in the middle of what is shown",
    }
    Frames: {
        NextFrame        "next-frame"         "go to the next frame",
        PreviousFrame    "previous-frame"     "go to the previous frame",
        JumpForward      "jump-forward"       "go 10 frames on (a count: so many)",
        JumpBackward     "jump-backward"      "go 10 frames back (a count: so many)",
        FirstFrame       "first-frame"        "go to the first frame",
        LastFrame        "last-frame"         "go to the last frame (a count: to that frame)",
        NextAnchor       "next-anchor"        "go to the next anchor: a frame with points or an accepted mask",
        PreviousAnchor   "previous-anchor"    "go to the previous anchor: a frame with points or an accepted mask",
        MiddleFrame      "middle-frame"       "go to the middle between the two nearest anchors",
        NextStale        "next-stale"         "go to the next frame with a stale mask: one older than the points",
        NextMissing      "next-missing"       "go to the next frame on which a mask is missing",
        PlayPause        "play-pause"         "play the clip, or pause",
        PlayFaster       "play-faster"        "play faster",
        PlaySlower       "play-slower"        "play slower",
    }
    Prompts: {
        AddBoundary      "add-boundary"       "put a boundary point under the cursor: the contour passes here",
        AddInside        "add-inside"         "put an inside point under the cursor",
        AddOutside       "add-outside"        "put an outside point under the cursor",
        AddBox           "add-box"            "put a corner of a box; the second corner completes it",
        ChooseNext       "choose-next"        "choose the next point of this frame",
        ChoosePrevious   "choose-previous"    "choose the previous point of this frame",
        NudgeLeft        "nudge-left"         "move the chosen (or nearest) point left by 1 px, or by the count",
        NudgeDown        "nudge-down"         "move the chosen (or nearest) point down by 1 px, or by the count",
        NudgeUp          "nudge-up"           "move the chosen (or nearest) point up by 1 px, or by the count",
        NudgeRight       "nudge-right"        "move the chosen (or nearest) point right by 1 px, or by the count",
        DeletePoint      "delete-point"       "delete the chosen point, or the one nearest to the cursor",
        ClearPoints      "clear-points"       "delete all points and boxes of this structure on this frame",
    }
    Rays: {
        ClockRays        "clock-rays"         "points by direction: a ray per clock hour from inside the structure",
        Ray1             "ray-1"              "put a boundary point on the strongest edge towards 1 o'clock; again: the next edge",
        Ray2             "ray-2"              "put a boundary point on the strongest edge towards 2 o'clock; again: the next edge",
        Ray3             "ray-3"              "put a boundary point on the strongest edge towards 3 o'clock; again: the next edge",
        Ray4             "ray-4"              "put a boundary point on the strongest edge towards 4 o'clock; again: the next edge",
        Ray5             "ray-5"              "put a boundary point on the strongest edge towards 5 o'clock; again: the next edge",
        Ray6             "ray-6"              "put a boundary point on the strongest edge towards 6 o'clock; again: the next edge",
        Ray7             "ray-7"              "put a boundary point on the strongest edge towards 7 o'clock; again: the next edge",
        Ray8             "ray-8"              "put a boundary point on the strongest edge towards 8 o'clock; again: the next edge",
        Ray9             "ray-9"              "put a boundary point on the strongest edge towards 9 o'clock; again: the next edge",
        Ray10            "ray-10"             "put a boundary point on the strongest edge towards 10 o'clock; again: the next edge",
        Ray11            "ray-11"             "put a boundary point on the strongest edge towards 11 o'clock; again: the next edge",
        Ray12            "ray-12"             "put a boundary point on the strongest edge towards 12 o'clock; again: the next edge",
        RaySuggested     "ray-suggested"      "put a boundary point where the contour is least certain (the dotted ray)",
        EdgeOuter        "edge-outer"         "move the last point to the next edge outwards",
        EdgeInner        "edge-inner"         "move the last point to the next edge inwards",
        RayOut           "ray-out"            "move the last point outwards by 1 px",
        RayIn            "ray-in"             "move the last point inwards by 1 px",
        RayOutFar        "ray-out-far"        "move the last point outwards by 4 px",
        RayInFar         "ray-in-far"         "move the last point inwards by 4 px",
        RayOutMm         "ray-out-mm"         "move the last point outwards by 0.1 mm",
        RayInMm          "ray-in-mm"          "move the last point inwards by 0.1 mm",
        RayClockwise     "ray-clockwise"      "turn the last point's ray by half an hour, clockwise",
        RayCounter       "ray-counter"        "turn the last point's ray by half an hour, the other way",
        RayCentre        "ray-centre"         "let the rays start under the cursor",
        Leap             "leap"               "let the rays start elsewhere: two keys of the block say where, by ninths",
        LeapNorthWest    "leap-north-west"    "leap into the upper left ninth of what is framed",
        LeapNorth        "leap-north"         "leap into the upper ninth",
        LeapNorthEast    "leap-north-east"    "leap into the upper right ninth",
        LeapWest         "leap-west"          "leap into the left ninth",
        LeapMiddle       "leap-middle"        "leap into the middle ninth",
        LeapEast         "leap-east"          "leap into the right ninth",
        LeapSouthWest    "leap-south-west"    "leap into the lower left ninth",
        LeapSouth        "leap-south"         "leap into the lower ninth",
        LeapSouthEast    "leap-south-east"    "leap into the lower right ninth",
    }
    Masks: {
        Grow             "grow"               "grow the mask by 1 px, or by the count",
        Shrink           "shrink"             "shrink the mask by 1 px, or by the count",
        Smooth           "smooth"             "smooth the mask over 2 px, or the count",
        FillHoles        "fill-holes"         "fill the holes of the mask",
        KeepLargest      "keep-largest"       "keep only the largest part of the mask",
        Cut              "cut"                "cut the mask along a line: once at either end, the smaller side goes",
        Interpolate      "interpolate"        "fill the frames between the anchors on either side with shapes in between",
        Brush            "brush"              "paint the mask along the cursor's path, or stop",
        Eraser           "eraser"             "erase the mask along the cursor's path, or stop",
        TakeOverlay      "take-overlay"       "take the mask of the overlay (another rater's) on this frame",
        BrushLarger      "brush-larger"       "a larger brush (a count: px)",
        BrushSmaller     "brush-smaller"      "a smaller brush (a count: px)",
    }
    Windows: {
        WindowStart      "window-start"       "the structure is visible from this frame on",
        WindowEnd        "window-end"         "the structure is last visible on this frame",
        WindowNew        "window-new"         "the structure appears once more: a new window on this frame",
        WindowClear      "window-clear"       "forget the window that holds this frame",
        WindowsClear     "windows-clear"      "forget all windows of this structure",
        WindowBisect     "window-bisect"      "find the window that holds this frame by questions: visible here?",
        Visible          "visible"            "answer: the structure is visible on this frame",
        NotVisible       "not-visible"        "answer: the structure is not visible on this frame",
        AnswerBack       "answer-back"        "take the last answer back",
        Tap              "tap"                "while the clip plays: the structure appears now; again: it goes now",
        MeasureReaction  "measure-reaction"   "measure your reaction time, by which taps are corrected",
    }
    Tracks: {
        NewTrack         "new-track"          "start a new structure",
        NextTrack        "next-track"         "choose the next structure",
        PreviousTrack    "previous-track"     "choose the previous structure",
        RenameTrack      "rename-track"       "rename the structure on the command line",
        RecolourTrack    "recolour-track"     "give the structure the next colour",
        HideTrack        "hide-track"         "hide the structure (in brackets then), or show it again",
        DeleteTrack      "delete-track"       "delete the structure with its points and masks",
        ChooseLabel      "choose-label"       "go to the structure with a label of the schema (its key), or start it",
        SetLabel         "set-label"          "give the structure a label of the schema (its key)",
        SetAttribute     "set-attribute"      "set an attribute of the structure or frame (its key, then the value's)",
    }
    Network: {
        Refresh          "refresh"            "compute the mask of this frame from its points again",
        PropagateBoth    "propagate-both"     "propagate: carry the masks through all windows, both ways",
        PropagateAll     "propagate-all"      "propagate the masks of every structure through its windows, all at once",
        PropagateForward "propagate-forward"  "propagate the mask to later frames",
        PropagateBackward "propagate-backward" "propagate the mask to earlier frames",
        PropagateWindow  "propagate-window"   "propagate the masks through the window that holds this frame",
        PropagateAnew    "propagate-anew"     "propagate the masks through all windows, also where nothing changed",
        PropagateCheck   "propagate-check"    "propagate from the anchors on either side and compare; masks stay",
        Cancel           "cancel"             "stop what is running, keep what is done; let go of the chosen point",
        AcceptFrame      "accept-frame"       "accept this frame's mask: nothing replaces it unasked",
        DiscardMask      "discard-mask"       "discard this frame's mask",
    }
    Review: {
        WorstFrame       "worst-frame"        "go to the frame that most deserves a look; again: the next one",
        AcceptQuiet      "accept-quiet"       "accept all masks around this frame up to where something is in doubt",
        FlagFrame        "flag-frame"         "flag this frame for a look, or take the flag away",
    }
    Language: {
        RepeatCorrection "repeat-correction"  "do the last correction again on the next flagged frame",
        MarkPlace        "mark-place"         "call this frame by a letter",
        GoPlace          "go-place"           "go to the frame called by a letter",
        CopyMask         "copy-mask"          "copy the mask of this frame into a register (a letter)",
        PasteMask        "paste-mask"         "paste the mask of a register here (a count: so many frames on)",
        RecordMacro      "record-macro"       "record keys into a macro (a letter), or end the recording",
        PlayMacro        "play-macro"         "play a macro (a letter), count times",
    }
    View: {
        ZoomIn           "zoom-in"            "enlarge the picture round the cursor",
        ZoomOut          "zoom-out"           "shrink the picture",
        ZoomFit          "zoom-fit"           "show the whole picture",
        ZoomCursor       "zoom-cursor"        "bring the cursor into the middle",
        PanLeft          "pan-left"           "look further left",
        PanDown          "pan-down"           "look further down",
        PanUp            "pan-up"             "look further up",
        PanRight         "pan-right"          "look further right",
        GainUp           "gain-up"            "more gain (contrast)",
        GainDown         "gain-down"          "less gain (contrast)",
        LevelUp          "level-up"           "brighter",
        LevelDown        "level-down"         "darker",
        GammaUp          "gamma-up"           "middle grays brighter",
        GammaDown        "gamma-down"         "middle grays darker",
        ToggleAutomatic  "toggle-automatic"   "stretch the grays that the ultrasound uses over all, or do not",
        ToggleClahe      "toggle-clahe"       "even the contrast out (CLAHE), or show the frame as it is",
        ToggleColour     "toggle-colour"      "show the colours of the file (flow), or their gray",
        NextLook         "next-look"          "the next look of the list (raw, vessel, nerve, ...); `:look NAME`",
        GainReset        "gain-reset"         "all grays as in the file again",
        MMode            "m-mode"             "M-mode: the ray at hand (or a line through the cursor) over time, or not any more",
        DepthUp          "depth-up"           "go up the M-mode line by 1 px, or by the count",
        DepthDown        "depth-down"         "go down the M-mode line by 1 px, or by the count",
        DepthUpFar       "depth-up-far"       "go up the M-mode line by 8 px",
        DepthDownFar     "depth-down-far"     "go down the M-mode line by 8 px",
        LineClockwise    "line-clockwise"     "turn the M-mode line by 7.5 degrees, clockwise",
        LineCounter      "line-counter"       "turn the M-mode line by 7.5 degrees, the other way",
        ToggleBeside     "toggle-beside"      "keep this frame beside the others for comparing, or not any more",
        ToggleOverlay    "toggle-overlay"     "show the overlay (another rater's masks, dashed), or do not",
        ToggleMasks      "toggle-masks"       "draw masks, or do not",
        ToggleTint       "toggle-tint"        "tint the inside of the chosen mask, or do not",
        ToggleSmooth     "toggle-smooth"      "smooth enlarged pixels, or show them square",
        TogglePoints     "toggle-points"      "draw points, boxes and the cursor, or do not",
        Caliper          "caliper"            "measure a distance: once at either end, again takes it away",
        ToggleArea       "toggle-area"        "show the area over time under the timeline instead of doubts",
        AcceptRegion     "accept-region"      "the outlined region is the ultrasound: everything outside it becomes black",
        RejectRegion     "reject-region"      "the outlined region is not the ultrasound: everything is shown",
        Redraw           "redraw"             "draw everything again",
    }
    Program: {
        Undo             "undo"               "take back the last change, with the mask that followed it",
        Redo             "redo"               "do the change again that was taken back",
        Export           "export"             "write the annotation in a format, on the command line",
        NextClip         "next-clip"          "open the next clip of the queue (a count: so many on)",
        FinishClip       "finish-clip"        "this clip is finished: open the next one that is not",
        PreviousClip     "previous-clip"      "open the previous clip of the queue (a count: so many back)",
        Help             "help"               "show all keys",
        Messages         "messages"           "show the last messages again",
        CommandLine      "command-line"       "open the command line",
        Palette          "palette"            "search all actions by what they do",
        Suspend          "suspend"            "put the program to sleep, back to the shell (fg wakes it)",
        Quit             "quit"               "leave; everything is already saved",
    }
    Dialogs: {
        Close            "close"              "close the help or the command line, leave rays or questions",
        FindHelp         "find-help"          "search the help page",
        ScrollDown       "scroll-down"        "scroll down, or choose the next line",
        ScrollUp         "scroll-up"          "scroll up, choose the previous line, or recall a line run before",
        PageDown         "page-down"          "scroll down by a page",
        PageUp           "page-up"            "scroll up by a page",
        LineRun          "line-run"           "run the command line",
        LineComplete     "line-complete"      "complete the word with the chosen line",
        LineLeft         "line-left"          "go left in the command line",
        LineRight        "line-right"         "go right in the command line",
        LineStart        "line-start"         "go to the start of the command line",
        LineEnd          "line-end"           "go to the end of the command line",
        LineErase        "line-erase"         "erase the character before the cursor",
        LineEraseWord    "line-erase-word"    "erase the word before the cursor",
        LineEraseAll     "line-erase-all"     "erase the command line",
    }
}

impl Action {
    /// Finds an action by its name.
    ///
    /// # Errors
    /// The name that was probably meant, where one is near.
    pub fn from_name(name: &str) -> Result<Action, Option<&'static str>> {
        let found = Action::ALL.iter().find(|action| action.name() == name);
        found.copied().ok_or_else(|| {
            crate::domain::nearest_word(name, Action::ALL.iter().map(|action| action.name()))
        })
    }
}
