//! The table of public data sets: how each one is laid out by its authors.
//!
//! Verified against the code of people who read the sets and, for usgra, its repository; nobody's code is in here. Where a
//! layout was described nowhere but there, two such repositories are named beside it.

/// How the files of a mask become labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// Label 1 wherever a value is above this.
    Above(f64),
    /// The values are the labels.
    Values,
}

/// Masks that are no image, see `convert`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Special {
    /// Images and label volumes: read as they are.
    None,
    /// JSON lists of the corners of one outline, label by the order of the mask patterns.
    Outlines,
    /// NumPy files that hold a pickled mapping, in it `structures` of label name to array.
    Arrays,
    /// One HDF5 file with all frames of all clips, which becomes folders of frames.
    CineHdf5,
}

/// Where the authors wrote who is in which split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Splits {
    /// They did not: drawn, 70 / 10 / 20, whole patients.
    Drawn,
    /// All of one split.
    All(&'static str),
    /// Text files with one name per line: split and file.
    Lists(&'static [(&'static str, &'static str)]),
    /// A JSON file with the lists `train` and `val`.
    Json(&'static str),
    /// A CSV file: column of the name, column of the fold, and what folds are which split (others: train).
    Folds(&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]),
    /// Names written in the set's readme: split and names.
    Named(&'static [(&'static str, &'static [&'static str])]),
    /// Folders of copies: split and pattern, in which `{n}` is the name; of two that hold one the later counts.
    Folders(&'static [(&'static str, &'static str)]),
}

/// Who a patient is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patient {
    /// Nobody knows.
    Unknown,
    /// Named by the path, a template of its holes.
    Template(&'static str),
    /// Runs of consecutive images of one size are one examination: frames of a video without ids.
    RunsOfSize,
}

/// Images that go with masks.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Pattern of the images.
    pub image: &'static str,
    /// Patterns of their masks; all that are there count.
    pub masks: &'static [&'static str],
    /// Name of an image in the authors' lists, a template of its holes.
    pub key: &'static str,
    /// Where its split is written.
    pub splits: Splits,
}

/// One data set.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// What it is called on the command line.
    pub kind: &'static str,
    /// Its name and where it is published.
    pub about: &'static str,
    /// Images with masks.
    pub parts: &'static [Part],
    /// How masks are read.
    pub rule: Rule,
    /// Masks that are no image.
    pub special: Special,
    /// Names of the labels.
    pub labels: &'static [(u8, &'static str)],
    /// Who a patient is.
    pub patient: Patient,
}

const BINARY: Rule = Rule::Above(127.0);

/// The copies from which the authors of STMUS_NDA learned.
const MUSCLE_CNN: Splits = Splits::Folders(&[
    ("train", "Segmentation_models/data/MuscleCNN/train/{n}.png"),
    ("val", "Segmentation_models/data/MuscleCNN/val/{n}.png"),
    ("test", "Segmentation_models/data/MuscleCNN/test/{n}.png"),
]);

const fn stills(
    image: &'static str,
    masks: &'static [&'static str],
    key: &'static str,
    splits: Splits,
) -> Part {
    Part { image, masks, key, splits }
}

/// All sets that [`super::import`] reads.
pub const LAYOUTS: &[Layout] = &[
    Layout {
        kind: "liver",
        about: "100+ 2D US Images and Tumor Segmentation Masks, Egger 2018, doi 10.13140/RG.2.2.36586.77761",
        // As CAMMA-public/UltraSam reads it. Masks hold grays beside 0 and 255.
        parts: &[stills(
            "105 US Images/{n#}.png",
            &["105 US Masks/{n#} G man.png"],
            "{n}",
            Splits::Drawn,
        )],
        rule: BINARY,
        special: Special::None,
        labels: &[(1, "liver tumour")],
        patient: Patient::Unknown,
    },
    Layout {
        kind: "aul",
        about: "Annotated Ultrasound Liver images, the liver, Xu et al. 2023, doi 10.5281/zenodo.7272660",
        // As adamtupper/ultrabench and CAMMA-public/UltraSam read it: an outline is `[[x, y], ...]`, an image a patient.
        // A mass is a part of the liver, and a pixel has one label: masses are a set of their own. Of three malignant
        // livers there is no outline; those of 229 and 306 lie among the outlines of the scan.
        parts: &[stills(
            "{class}/image/{n#}.jpg",
            &["{class}/segmentation/liver/{n#}.json"],
            "{n}",
            Splits::Drawn,
        )],
        rule: Rule::Values,
        special: Special::Outlines,
        labels: &[(1, "liver")],
        patient: Patient::Template("{class}-{n}"),
    },
    Layout {
        kind: "aul_mass",
        about: "Annotated Ultrasound Liver images, the masses, Xu et al. 2023, doi 10.5281/zenodo.7272660",
        // Normal livers have none.
        parts: &[stills(
            "{class}/image/{n#}.jpg",
            &["{class}/segmentation/mass/{n#}.json"],
            "{n}",
            Splits::Drawn,
        )],
        rule: Rule::Values,
        special: Special::Outlines,
        labels: &[(1, "liver mass")],
        patient: Patient::Template("{class}-{n}"),
    },
    Layout {
        kind: "fass",
        about: "Fetal Abdominal Structures Segmentation Dataset, Da Correggio et al. 2023, doi 10.17632/4gcpm9dsc3.1",
        // As constantinpape/torch-em reads it (`fass.py`). Structures hardly ever overlap.
        parts: &[stills(
            "IMAGES/P{patient#}_IMG{n#}.png",
            &["ARRAY_FORMAT/P{patient#}_IMG{n#}.npy"],
            "P{patient}_IMG{n}",
            Splits::Drawn,
        )],
        rule: Rule::Values,
        special: Special::Arrays,
        labels: &[(1, "artery"), (2, "liver"), (3, "stomach"), (4, "vein")],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "busbra",
        about: "BUS-BRA, Gomez-Flores et al. 2023, doi 10.5281/zenodo.8231412",
        parts: &[stills(
            "Images/bus_{patient#}-{side}.png",
            &["Masks/mask_{patient#}-{side}.png"],
            "bus_{patient}-{side}",
            // Five folds are published and no split: the first is for testing, the second for validation.
            Splits::Folds("5-fold-cv.csv", "ID", "kFold", &[("1", "test"), ("2", "val")]),
        )],
        rule: BINARY,
        special: Special::None,
        labels: &[(1, "breast tumour")],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "tg3k",
        about: "TG3K, Gong et al. 2023, github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
        // As the authors' own loader reads it (`dataloaders/tg3k.py`) and openmedlab/Awesome-Medical-Dataset lists it. The
        // numbers of the JSON file are positions among the images, which are numbered without a gap.
        parts: &[stills(
            "thyroid-image/{n#}.jpg",
            &["thyroid-mask/{n#}.jpg"],
            "{n}",
            Splits::Json("tg3k-trainval.json"),
        )],
        rule: BINARY,
        special: Special::None,
        labels: &[(1, "thyroid gland")],
        // Frames of 16 videos; the published split cuts through one of them.
        patient: Patient::RunsOfSize,
    },
    Layout {
        kind: "tn3k",
        about: "TN3K, Gong et al. 2023, github.com/haifangong/TRFE-Net-for-thyroid-nodule-segmentation",
        parts: &[
            stills(
                "trainval-image/{n#}.jpg",
                &["trainval-mask/{n#}.jpg"],
                "{n}",
                Splits::Json("tn3k-trainval-fold0.json"),
            ),
            stills("test-image/{n#}.jpg", &["test-mask/{n#}.jpg"], "{n}", Splits::All("test")),
        ],
        rule: BINARY,
        special: Special::None,
        labels: &[(1, "thyroid nodule")],
        patient: Patient::Unknown,
    },
    Layout {
        kind: "nerve",
        about: "Ultrasound Nerve Segmentation, Montoya et al. 2016, kaggle.com/competitions/ultrasound-nerve-segmentation",
        // As the competition says (subject_image) and jocicmarko/ultrasound-nerve-segmentation reads it. Where nothing is to
        // be seen the mask is empty.
        parts: &[stills(
            "train/{patient#}_{n#}.tif",
            &["train/{patient#}_{n#}_mask.tif"],
            "{patient}_{n}",
            Splits::Drawn,
        )],
        rule: BINARY,
        special: Special::None,
        labels: &[(1, "brachial plexus")],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "otu",
        about: "MMOTU, the part OTU_2d, Zhao et al. 2022, github.com/cv516Buaa/MMOTU_DS2Net",
        parts: &[stills(
            "OTU_2d/images/{n#}.JPG",
            &["OTU_2d/annotations/{n#}_binary.PNG", "OTU_2d/annotations/{n#}_binary_binary.PNG"],
            "{n}",
            Splits::Lists(&[("train", "OTU_2d/train.txt"), ("val", "OTU_2d/val.txt")]),
        )],
        rule: BINARY,
        special: Special::None,
        labels: &[(1, "ovarian tumour")],
        patient: Patient::Unknown,
    },
    Layout {
        kind: "stmus_nda",
        about: "STMUS_NDA, Marzola et al. 2021, doi 10.17632/3jykz7wz8d.1",
        // As constantinpape/torch-em (`muscle_us.py`) reads it, and mathpluscode/ImgX-DiffSeg the authors' copies, whose
        // names are muscle, subject and number (`BB_anon_1789_3`); here the muscle may be in the folder's name alone.
        parts: &[
            stills(
                "{muscle}/{group}/Images/{prefix}_anon_{patient#}_{k#}.png",
                &["{muscle}/{group}/Masks/{prefix}_anon_{patient#}_{k#}.png"],
                "{prefix}_anon_{patient}_{k}",
                MUSCLE_CNN,
            ),
            stills(
                "{muscle}/{group}/Images/anon_{patient#}_{k#}.png",
                &["{muscle}/{group}/Masks/anon_{patient#}_{k#}.png"],
                "{muscle}_anon_{patient}_{k}",
                MUSCLE_CNN,
            ),
            stills(
                "{muscle}/{group}/Images/{n}.png",
                &["{muscle}/{group}/Masks/{n}.png"],
                "{n}",
                MUSCLE_CNN,
            ),
        ],
        // 0 and 1 in some copies, 0 and 255 in others.
        rule: Rule::Above(0.5),
        special: Special::None,
        labels: &[(1, "muscle cross-section")],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "trusted",
        about: "TRUSTED, the ultrasound part, Ndzimbong et al. 2025, doi 10.1038/s41597-025-04467-1",
        parts: &[stills(
            "US_DATA/US_images/{patient#}{side}_imgUS.nii",
            &["US_DATA/US_masks/GT_estimated_masksUS/{patient#}{side}_maskUS.nii"],
            "{patient}",
            // US_cv1 and US_cv2 of the readme.
            Splits::Named(&[
                ("test", &["263", "794", "592", "206", "579", "915", "250"]),
                ("val", &["561", "418", "636", "258", "283", "610", "517"]),
            ]),
        )],
        // Estimated masks are floating-point numbers with crumbs near 0.
        rule: Rule::Above(0.5),
        special: Special::None,
        labels: &[(1, "kidney")],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "segthy",
        about: "SegThy, the ultrasound part, Kroenke et al. 2022, doi 10.1371/journal.pone.0268550",
        parts: &[stills(
            "ground_truth_data/US/{patient#}_{scan}_US.nii",
            &["ground_truth_data/US_thyroid_label/{patient#}_{scan}.nii"],
            "{patient}",
            Splits::Drawn,
        )],
        rule: Rule::Values,
        special: Special::None,
        labels: &[
            (1, "thyroid"),
            (2, "left carotid artery"),
            (3, "left jugular vein"),
            (4, "right carotid artery"),
            (5, "right jugular vein"),
        ],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "camus",
        about: "CAMUS, Leclerc et al. 2019, doi 10.1109/TMI.2019.2900516",
        parts: &[stills(
            "{patient}/{patient}_{view}_half_sequence.nii",
            &["{patient}/{patient}_{view}_half_sequence_gt.nii"],
            "{patient}",
            Splits::Lists(&[
                ("train", "subgroup_training.txt"),
                ("val", "subgroup_validation.txt"),
                ("test", "subgroup_testing.txt"),
            ]),
        )],
        rule: Rule::Values,
        special: Special::None,
        labels: &[(1, "left ventricle"), (2, "myocardium"), (3, "left atrium")],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "thyroid_cine",
        about: "Thyroid Ultrasound Cine-clip, Stanford AIMI 2021, doi 10.71718/7m5n-rh16",
        // As adamtupper/ultrabench and CAMMA-public/UltraSam read it: `image` and `mask` (0 and 255) frame by frame,
        // `frame_num`, and an `annot_id` like `10_`.
        parts: &[stills("dataset.hdf5", &[], "", Splits::Drawn)],
        rule: BINARY,
        special: Special::CineHdf5,
        labels: &[(1, "thyroid nodule")],
        patient: Patient::Template("{patient}"),
    },
    Layout {
        kind: "usgra",
        about: "usgra-seg, github.com/tmkand/usgra-seg",
        parts: &[stills("images/{n#}.png", &["masks/{n#}.png"], "{n}", Splits::Drawn)],
        rule: Rule::Values,
        special: Special::None,
        // Not documented by the authors.
        labels: &[(1, "label 1"), (2, "label 2")],
        patient: Patient::Unknown,
    },
    Layout {
        kind: "busi",
        about: "BUSI, Al-Dhabyani et al. 2020, doi 10.1016/j.dib.2019.104863",
        parts: &[stills(
            "{class}/{class} ({n#}).png",
            &["{class}/{class} ({n#})_mask.png", "{class}/{class} ({n#})_mask_{k#}.png"],
            "{class} ({n})",
            Splits::Drawn,
        )],
        rule: BINARY,
        special: Special::None,
        labels: &[(1, "breast lesion")],
        patient: Patient::Unknown,
    },
    Layout {
        kind: "pairs",
        about: "NAME.png beside NAME.mask.png, with train.txt and val.txt where there are such lists",
        parts: &[stills(
            "{n}.png",
            &["{n}.mask.png"],
            "{n}",
            Splits::Lists(&[("train", "train.txt"), ("val", "val.txt")]),
        )],
        rule: Rule::Values,
        special: Special::None,
        labels: &[],
        patient: Patient::Unknown,
    },
];

/// The layout called `kind`.
#[must_use]
pub fn named(kind: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.kind == kind)
}
