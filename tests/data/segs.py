"""Writes reading/segs/: segmentations of reading/enhanced_in_order.dcm, one for every way of compressing them.

    python3 segs.py       (pip install highdicom pyjpegls; the files are new, same licence as the code)

All hold the same: segment 1 is the columns before 3 + frame, on the frames 0 and 2; segment 2 what lies from column 8 and row 7 on,
on the frames 1 and 2. What is shown was written by highdicom; bits in RLE and deflated, which it does not write, by hand.
"""
import pathlib, warnings, zlib
import highdicom, numpy as np, pydicom
from pydicom.encaps import encapsulate
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, RLELossless

warnings.simplefilter("ignore")
READING = pathlib.Path(__file__).parent / "reading"
OUT = READING / "segs"
OUT.mkdir(exist_ok=True)
source = pydicom.dcmread(READING / "enhanced_in_order.dcm")
for name in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime"):
    setattr(source, name, "")
source.FrameOfReferenceUID = "1.2.8"
F, H, W = source.pixel_array.shape
f, y, x = np.mgrid[:F, :H, :W]
one = (x < 3 + f) & (f % 2 == 0)
two = (x >= 8) & (y >= 7) & ((f == 1) | (f == 2))
numbers = (one + 2 * two).astype(np.uint8)


def describe(number):
    return highdicom.seg.SegmentDescription(
        number, f"part {number}", codes.SCT.Tissue, codes.SCT.Tissue, "AUTOMATIC",
        algorithm_identification=highdicom.AlgorithmIdentificationSequence("segs", codes.DCM.ArtificialIntelligence, "1"))


def written(kind, syntax):
    return highdicom.seg.Segmentation(
        [source], numbers, kind, [describe(1), describe(2)], "1.2.6", 2, "1.2.7", 1, "m", "m", "1", "1",
        transfer_syntax_uid=syntax, fractional_type="OCCUPANCY", omit_empty_frames=True)


def save(name, seg):
    seg.save_as(OUT / f"{name}.dcm", enforce_file_format=True)


for kind in ("FRACTIONAL", "LABELMAP"):
    for name, syntax in (("rle", RLELossless), ("jpeg_ls", JPEGLSLossless)):
        save(f"{kind.lower()}_{name}", written(kind, syntax))


def packbits(data):
    """Literal runs only, after the header of one segment."""
    runs = b"".join(bytes([len(part) - 1]) + part for part in (data[i:i + 128] for i in range(0, len(data), 128)))
    return np.array([1, 64] + [0] * 14, "<u4").tobytes() + runs + b"\0" * (len(runs) % 2)


def deflated(data):
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


for name, pack in (("rle", packbits), ("deflated", deflated)):
    seg = written("BINARY", ExplicitVRLittleEndian)
    bits = [np.packbits(frame.ravel(), bitorder="little").tobytes() for frame in seg.pixel_array]
    seg.PixelData = encapsulate([pack(frame) for frame in bits])
    seg["PixelData"].VR = "OB"
    seg["PixelData"].is_undefined_length = True
    seg.file_meta.TransferSyntaxUID = RLELossless
    save(f"binary_{name}", seg)

# pydicom does not write the syntax of deflated frames: the name is put in afterwards, two bytes longer.
path = OUT / "binary_deflated.dcm"
held = path.read_bytes()
length = int.from_bytes(held[140:144], "little") + 2
uid = lambda text: b"\2\0\x10\0UI" + len(text).to_bytes(2, "little") + text
held = held.replace(uid(b"1.2.840.10008.1.2.5\0"), uid(b"1.2.840.10008.1.2.8.1\0"))
path.write_bytes(held[:140] + length.to_bytes(4, "little") + held[144:])
