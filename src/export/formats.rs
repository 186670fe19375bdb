//! The table of formats: one row is how a format is called, what it can keep, how it is written
//! and read.

use std::path::Path;

use super::content::{Keeps, Names};
use super::read::Reader;
use super::{
    ExportError, Job, Report, coco, csv, cvat, davis, deidentified, dicom_seg, labelmap, labelme,
    movie, nifti, nnunet, nrrd, png, yolo,
};

/// File formats of annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// A folder of `LABEL/FRAME.png` masks, 0 and 255, in the size of the clip; frames from 00000.
    Png,
    /// One JSON file in COCO's format, masks as uncompressed column-major runs.
    Coco,
    /// COCO with polygons, for tools that read no runs.
    CocoPolygons,
    /// Indexed PNGs as DAVIS and YouTube-VOS lay them out.
    Davis,
    /// A text file of polygons for every frame, and `data.yaml`.
    Yolo,
    /// A JSON file for every frame, as labelme writes them.
    Labelme,
    /// One XML file, "CVAT for video 1.1".
    Cvat,
    /// A table of measures.
    Csv,
    /// One NIfTI label volume.
    Nifti,
    /// One NRRD label volume.
    Nrrd,
    /// One 3D Slicer segmentation.
    SegNrrd,
    /// One DICOM Segmentation object.
    DicomSeg,
    /// The same with a byte for every pixel.
    DicomSegFractional,
    /// A data set folder of nnU-Net.
    NnUnet,
    /// The clip itself without patient data, as DICOM.
    Dicom,
    /// The clip itself without patient data, as images.
    Frames,
    /// The clip with its masks drawn, as a video.
    Mp4,
    /// The clip with its masks drawn, as an animation.
    Gif,
}

/// A format of the table.
pub(super) struct Row {
    pub(super) format: ExportFormat,
    pub(super) name: &'static str,
    /// Ending of the file, or "" for a folder.
    ending: &'static str,
    about: &'static str,
    pub(super) keeps: Keeps,
    pub(super) write: fn(&Job, &Path) -> Result<Report, ExportError>,
    /// None where files of the format hold nothing of an annotation.
    pub(super) read: Option<Reader>,
}

/// Every format.
pub(super) static FORMATS: [Row; 18] = [
    Row {
        format: ExportFormat::Png,
        name: "png",
        ending: "",
        about: "folder of black and white masks, one folder for each structure",
        keeps: Keeps { empties: true, names: Names::Safe, ..Keeps::ALL },
        write: png::write,
        read: Some(png::read),
    },
    Row {
        format: ExportFormat::Coco,
        name: "coco",
        ending: ".json",
        about: "COCO JSON, masks as runs",
        keeps: Keeps { attributes: true, ..Keeps::ALL },
        write: coco::write,
        read: Some(coco::read),
    },
    Row {
        format: ExportFormat::CocoPolygons,
        name: "coco-polygons",
        ending: ".json",
        about: "COCO JSON, masks as polygons",
        keeps: Keeps { attributes: true, ..Keeps::ALL },
        write: coco::write_polygons,
        read: Some(coco::read),
    },
    Row {
        format: ExportFormat::Davis,
        name: "davis",
        ending: "",
        about: "indexed PNGs, laid out as DAVIS and YouTube-VOS do",
        keeps: Keeps::ONE_PER_PIXEL,
        write: davis::write,
        read: Some(davis::read),
    },
    Row {
        format: ExportFormat::Yolo,
        name: "yolo",
        ending: "",
        about: "YOLO segmentation: a text file of polygons for each frame",
        keeps: Keeps { classes: true, ..Keeps::ALL },
        write: yolo::write,
        read: Some(yolo::read),
    },
    Row {
        format: ExportFormat::Labelme,
        name: "labelme",
        ending: "",
        about: "labelme: a JSON file for each frame",
        keeps: Keeps::ALL,
        write: labelme::write,
        read: Some(labelme::read),
    },
    Row {
        format: ExportFormat::Cvat,
        name: "cvat",
        ending: ".xml",
        about: "XML \"CVAT for video 1.1\", masks as runs",
        keeps: Keeps { names: Names::Plain, attributes: true, ..Keeps::ALL },
        write: cvat::write,
        read: Some(cvat::read),
    },
    Row {
        format: ExportFormat::Csv,
        name: "csv",
        ending: ".csv",
        about: "table of measures: area, box, centre of every mask",
        keeps: Keeps::NOTHING,
        write: csv::write,
        read: Some(csv::read),
    },
    Row {
        format: ExportFormat::Nifti,
        name: "nifti",
        ending: ".nii.gz",
        about: "NIfTI label volume, and its label names for ITK-SNAP",
        keeps: Keeps { names: Names::Plain, ..Keeps::ONE_PER_PIXEL },
        write: nifti::write,
        read: Some(labelmap::read),
    },
    Row {
        format: ExportFormat::Nrrd,
        name: "nrrd",
        ending: ".nrrd",
        about: "NRRD label volume",
        keeps: Keeps { names: Names::Plain, ..Keeps::ONE_PER_PIXEL },
        write: nrrd::write_plain,
        read: Some(labelmap::read),
    },
    Row {
        format: ExportFormat::SegNrrd,
        name: "seg.nrrd",
        ending: ".seg.nrrd",
        about: "3D Slicer segmentation with names, colours and terminology",
        keeps: Keeps { names: Names::Plain, ..Keeps::ALL },
        write: nrrd::write_segmentation,
        read: Some(labelmap::read),
    },
    Row {
        format: ExportFormat::DicomSeg,
        name: "dicom-seg",
        ending: ".seg.dcm",
        about: "DICOM Segmentation, binary, by referenced frame number",
        keeps: Keeps { names: Names::Dicom, ..Keeps::ALL },
        write: dicom_seg::write,
        read: Some(dicom_seg::read),
    },
    Row {
        format: ExportFormat::DicomSegFractional,
        name: "dicom-seg-fractional",
        ending: ".seg.dcm",
        about: "the same, fractional: how much of each pixel is taken, here 0 or 255 of 255",
        keeps: Keeps { names: Names::Dicom, ..Keeps::ALL },
        write: dicom_seg::write_fractional,
        read: Some(dicom_seg::read),
    },
    Row {
        format: ExportFormat::NnUnet,
        name: "nnunet",
        ending: "",
        about: "data set folder of nnU-Net, pictures included",
        keeps: Keeps { classes: true, ..Keeps::ONE_PER_PIXEL },
        write: nnunet::write,
        read: Some(nnunet::read),
    },
    Row {
        format: ExportFormat::Dicom,
        name: "dicom",
        ending: ".dcm",
        about: "the clip itself as DICOM ultrasound without patient data (8 bits, gray or colour)",
        keeps: Keeps::NOTHING,
        write: deidentified::write_dicom,
        read: None,
    },
    Row {
        format: ExportFormat::Frames,
        name: "frames",
        ending: "",
        about: "the clip itself as PNG images without patient data (8 bits, gray or colour)",
        keeps: Keeps::NOTHING,
        write: deidentified::write_frames,
        read: None,
    },
    Row {
        format: ExportFormat::Mp4,
        name: "mp4",
        ending: ".mp4",
        about: "the clip with its masks drawn, as a video (needs ffmpeg)",
        keeps: Keeps::NOTHING,
        write: movie::write_mp4,
        read: None,
    },
    Row {
        format: ExportFormat::Gif,
        name: "gif",
        ending: ".gif",
        about: "the clip with its masks drawn, as an animation (needs ffmpeg)",
        keeps: Keeps::NOTHING,
        write: movie::write_gif,
        read: None,
    },
];

/// Endings by which programs, this one among them, take what is in a file for granted.
const TELLING: [&str; 24] = [
    "avi", "bmp", "csv", "dcm", "gif", "gz", "jpeg", "jpg", "json", "mha", "mhd", "mkv", "mov",
    "mp4", "nhdr", "nii", "nrrd", "png", "svg", "tif", "tiff", "xlsx", "xml", "zip",
];

impl ExportFormat {
    /// Refuses a name of a file that ends like those of another format. Folders may be called anything.
    pub(super) fn check_name(self, path: &Path) -> Result<(), ExportError> {
        let own = self.ending();
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        if own.is_empty() || own.split('.').any(|part| part == ending) {
            return Ok(());
        }
        if !TELLING.contains(&ending.as_str()) {
            return Ok(());
        }
        let cause = format!(
            "it would hold {}, and programs would take it for what its name ends like",
            self.row().name
        );
        let advice = format!("let its name end in {own}, or choose another format");
        Err(ExportError::unfit(path, cause, advice))
    }

    pub(super) fn row(self) -> &'static Row {
        // Every format has its row: `tests::every_format_has_its_row`.
        FORMATS.iter().find(|row| row.format == self).unwrap_or(&FORMATS[0])
    }

    /// Every format with its name and what it is, for help.
    pub fn all() -> impl Iterator<Item = (Self, &'static str, &'static str)> {
        FORMATS.iter().map(|row| (row.format, row.name, row.about))
    }

    /// Names of the formats that are imported, too.
    pub fn imported() -> impl Iterator<Item = &'static str> {
        FORMATS.iter().filter(|row| row.read.is_some()).map(|row| row.name)
    }

    /// The format of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        FORMATS.iter().find(|row| row.name == name).map(|row| row.format)
    }

    /// Its name, as people type it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Ending of the file that it writes, with its dot; "" when it writes a folder.
    #[must_use]
    pub fn ending(self) -> &'static str {
        self.row().ending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_has_its_row() {
        use ExportFormat as F;
        let all = [
            F::Png,
            F::Coco,
            F::CocoPolygons,
            F::Davis,
            F::Yolo,
            F::Labelme,
            F::Cvat,
            F::Csv,
            F::Nifti,
            F::Nrrd,
            F::SegNrrd,
            F::DicomSeg,
            F::DicomSegFractional,
            F::Dicom,
            F::Frames,
            F::NnUnet,
            F::Mp4,
            F::Gif,
        ];
        assert_eq!(all.len(), FORMATS.len());
        for format in all {
            assert_eq!(format.row().format, format);
            assert_eq!(ExportFormat::named(format.row().name), Some(format));
        }
    }
}
