"""Proves exports and imports against other people's readers and writers, pixel for pixel.

    pip install pycocotools pydicom highdicom nibabel SimpleITK pynrrd pillow opencv-python-headless
    python3 tests/peer/formats.py target/release/sonomark

Four clips of tests/data (a still with its own annotation, a cine, a volume, an ultrasound DICOM) get structures with holes, lone
pixels, parts that touch in corners, and overlaps. They go in through files that pycocotools, nibabel, SimpleITK, pynrrd,
highdicom and Pillow write, and come out through every format of `sonomark export`, read by those libraries. Each
check compares whole arrays. The last line is the summary; exit code 1 when anything differs.
"""
import base64, csv, io, json, os, pathlib, subprocess, sys, tempfile, warnings
import xml.etree.ElementTree as xml

import cv2, highdicom, nibabel, nrrd, numpy as np, pydicom
import SimpleITK as sitk
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

warnings.simplefilter("ignore")
ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(sys.argv[1]).resolve()
checks, failed = 0, []
# Settings and project of the person who runs this have no say, here or in HOME below.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("SONOMARK_", "XDG_"))}


def check(what, same):
    global checks
    checks += 1
    if not same:
        failed.append(what)
        print("DIFFERS:", what)


def run(*words):
    done = subprocess.run([BINARY, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT)
    if done.returncode:
        raise SystemExit(f"sonomark {words[0]} failed: {done.stderr}")
    return done.stderr


def equal(held, found):
    """Structures are label -> frame -> bool array; empty masks count as none."""
    def tidy(s):
        return {(label, frame): m for label, frames in s.items() for frame, m in frames.items() if m.any()}
    a, b = tidy(held), tidy(found)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def flat(held):
    """What a file with one structure at every pixel can say: the last structure is on top."""
    out = {}
    for i, (label, frames) in enumerate(held.items()):
        for frame, m in frames.items():
            over = [held[l][frame] for l in list(held)[i + 1:] if frame in held[l]]
            out.setdefault(label, {})[frame] = m & ~np.any(over, axis=0) if over else m
    return out


def stack(held, shape):
    """Numbers 1, 2, ... of the structures as (frame, row, column)."""
    out = np.zeros(shape, np.uint8)
    for number, frames in enumerate(held.values(), 1):
        for frame, m in frames.items():
            out[frame][m] = number
    return out


def from_stack(numbers, names):
    found = {}
    for number in np.unique(numbers[numbers > 0]):
        for frame in np.unique(np.nonzero(numbers == number)[0]):
            found.setdefault(names[int(number)], {})[int(frame)] = numbers[frame] == number
    return found


# ---- the clips and what is drawn on them

def noisy(random, shape, centre, radius):
    y, x = np.mgrid[:shape[0], :shape[1]]
    m = np.hypot(x - centre[0], y - centre[1]) < radius
    m &= np.hypot(x - centre[0] - radius / 3, y - centre[1]) > radius / 4
    return m ^ (random.random(shape) < 0.01)


def clips():
    random = np.random.default_rng(5)
    data = ROOT / "tests/data"
    labels = np.asarray(Image.open(data / "stills/usgra_0162.mask.png").convert("L"))
    yield "still", data / "stills/usgra_0162.png", (1, *labels.shape), {
        f"structure {n}": {0: labels == n} for n in np.unique(labels[labels > 0])}
    shape = np.asarray(Image.open(data / "clips/ultrabones/00000.jpg").convert("L")).shape
    yield "cine", data / "clips/ultrabones", (16, *shape), {
        "bone \"tibia\"": {f: noisy(random, shape, (200 + 5 * f, 180), 60) for f in (0, 3, 4, 15)},
        "shadow": {f: noisy(random, shape, (260, 200 + f), 50) for f in (3, 5)}}
    volume = np.asarray(nibabel.load(data / "volumes/deepreg_case0.nii.gz").dataobj).T
    bright = volume > np.percentile(volume, 97)
    yield "volume", data / "volumes/deepreg_case0.nii.gz", volume.shape, {
        "bright": {f: bright[f] for f in range(len(bright)) if bright[f].any()},
        "disc": {f: noisy(random, volume.shape[1:], (20, 30), 9) for f in range(4, 20)}}
    ultrasound = data / "dicom/examples_ybr_color.dcm"
    pixels = pydicom.dcmread(ultrasound).pixel_array
    yield "dicom", ultrasound, pixels.shape[:3], {
        "Ventriculus sinister": {f: noisy(random, pixels.shape[1:3], (150 + f, 110), 40) for f in (0, 9, 29)},
        "valve": {f: noisy(random, pixels.shape[1:3], (170, 120 + f), 25) for f in (9, 10)}}


# ---- readers

def read_png(folder, names):
    found = {}
    for sub, label in names.items():
        for file in (folder / sub).iterdir():
            found.setdefault(label, {})[int(file.stem)] = np.asarray(Image.open(file)) == 255
    return found


def read_coco(file):
    coco, found = COCO(str(file)), {}
    for a in coco.anns.values():
        label = coco.cats[a["category_id"]]["name"]
        found.setdefault(label, {})[coco.imgs[a["image_id"]]["frame"]] = coco.annToMask(a).astype(bool)
    return found


def read_davis(folder):
    (name, video), = json.loads((folder / "meta.json").read_text())["videos"].items()
    names, found = {int(n): o["category"] for n, o in video["objects"].items()}, {}
    for file in (folder / "Annotations" / name).iterdir():
        image = Image.open(file)
        assert image.mode == "P", "indexed"
        numbers = np.asarray(image)
        for n in np.unique(numbers[numbers > 0]):
            found.setdefault(names[int(n)], {})[int(file.stem)] = numbers == n
    return found


def read_yolo(folder, shape):
    """As Ultralytics does: shares times size, cut to whole numbers, filled by OpenCV."""
    names = dict(line.strip().split(": ", 1) for line in (folder / "data.yaml").read_text().splitlines()
                 if line.startswith("  "))
    found = {}
    for file in (folder / "labels").glob("*.txt"):
        for line in file.read_text().splitlines():
            number, *shares = line.split()
            points = np.array(shares, np.float32).reshape(-1, 2) * (shape[2], shape[1])
            m = np.zeros(shape[1:], np.uint8)
            cv2.fillPoly(m, [points.astype(np.int32)], 1)
            frames = found.setdefault(json.loads(names[number]), {})
            frames[int(file.stem)] = frames.get(int(file.stem), np.zeros(shape[1:], bool)) | m.astype(bool)
    return found


def read_labelme(folder, shape):
    found = {}
    for file in folder.glob("*.json"):
        for s in json.loads(file.read_text())["shapes"]:
            assert s["shape_type"] == "mask"
            (x0, y0), (x1, y1) = np.asarray(s["points"]).astype(int)
            m = np.zeros(shape[1:], bool)
            m[y0:y1 + 1, x0:x1 + 1] = np.asarray(Image.open(io.BytesIO(base64.b64decode(s["mask"])))).astype(bool)
            found.setdefault(s["label"], {})[int(file.stem)] = m
    return found


def read_cvat(file, shape):
    found = {}
    for track in xml.parse(file).getroot().iter("track"):
        for e in track.iter("mask"):
            if e.get("outside") == "1":
                continue
            left, top, w, h = (int(e.get(k)) for k in ("left", "top", "width", "height"))
            runs = [int(n) for n in e.get("rle").split(",")]
            m = np.zeros(shape[1:], bool)
            m[top:top + h, left:left + w] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(h, w)
            found.setdefault(track.get("label"), {})[int(e.get("frame"))] = m
    return found


def read_segmentation(file, shape):
    data, head = nrrd.read(str(file))
    data = data.reshape((-1, *shape[::-1])) if data.ndim == 3 else data
    found, i = {}, 0
    while f"Segment{i}_Name" in head:
        layer, value = int(head[f"Segment{i}_Layer"]), int(head[f"Segment{i}_LabelValue"])
        numbers = data[layer].T
        for frame in np.unique(np.nonzero(numbers == value)[0]):
            found.setdefault(head[f"Segment{i}_Name"], {})[int(frame)] = numbers[frame] == value
        i += 1
    return found


def read_dicom(file, clip):
    """By pydicom: bits by frame, segment and referenced frame number; refers to the clip's own instance."""
    d, found = pydicom.dcmread(file), {}
    labels = {s.SegmentNumber: s.SegmentLabel for s in d.SegmentSequence}
    pixels = d.pixel_array.reshape(-1, d.Rows, d.Columns).astype(bool)
    for m, group in zip(pixels, d.PerFrameFunctionalGroupsSequence):
        source = group.DerivationImageSequence[0].SourceImageSequence[0]
        if clip.suffix == ".dcm":
            assert source.ReferencedSOPInstanceUID == pydicom.dcmread(clip, stop_before_pixels=True).SOPInstanceUID
        label = labels[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        found.setdefault(label, {})[int(source.ReferencedFrameNumber) - 1] = m
    return found


def read_highdicom(file, shape):
    seg, found = highdicom.seg.segread(str(file)), {}
    uid = seg.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
    pixels = seg.get_pixels_by_source_frame(uid, list(range(1, shape[0] + 1)), assert_missing_frames_are_empty=True,
                                            ignore_spatial_locations=True)
    for i, number in enumerate(seg.segment_numbers):
        label = seg.get_segment_description(number).segment_label
        for frame in range(shape[0]):
            if pixels[frame, ..., i].any():
                found.setdefault(label, {})[frame] = pixels[frame, ..., i].astype(bool)
    return found


TISSUE, VEIN = ("SCT", "85756007", "Tissue"), ("SCT", "29092000", "Vein")


def codes_of(file):
    """Colour and codes of every segment by pynrrd, as Slicer's keys have them."""
    head, found = nrrd.read_header(str(file)), {}
    for i in range(sum(k.startswith("Segment") and k.endswith("_Name") for k in head)):
        colour = [round(float(v) * 255) for v in head[f"Segment{i}_Color"].split()]
        assert colour == [sum((i + 1 >> 3 * k + c & 1) << 7 - k for k in range(3)) for c in range(3)]
        start, category, kind, modifier, *_ = head[f"Segment{i}_Tags"].split("~")
        assert start.startswith("TerminologyEntry:") and category == "^".join(TISSUE) and modifier == "^^"
        found[i] = tuple(kind.split("^"))
    return found


def codes_of_dicom(file):
    """The same by highdicom; colours are there."""
    seg = highdicom.seg.segread(str(file))
    assert all(len(s.RecommendedDisplayCIELabValue) == 3 for s in seg.SegmentSequence)
    kinds = [seg.get_segment_description(n).segmented_property_type for n in seg.segment_numbers]
    return {i: (k.scheme_designator, k.value, k.meaning) for i, k in enumerate(kinds)}


def read_nnunet(folder, shape):
    about, found = json.loads((folder / "dataset.json").read_text()), {}
    names = {n: l for l, n in about["labels"].items()}
    for file in (folder / "labelsTr").iterdir():
        case = file.name[:-len(about["file_ending"])]
        image = folder / "imagesTr" / f"{case}_0000{about['file_ending']}"
        if file.suffix == ".png":
            numbers, picture = np.asarray(Image.open(file)), np.asarray(Image.open(image))
            assert picture.shape == numbers.shape
            for n in np.unique(numbers[numbers > 0]):
                found.setdefault(names[int(n)], {})[int(case[-5:])] = numbers == n
        else:
            assert nibabel.load(image).shape == shape[::-1]
            found = from_stack(np.asarray(nibabel.load(file).dataobj).T, names)
    assert about["numTraining"] == len(list((folder / "labelsTr").iterdir()))
    return found


def counted(file):
    words = ["ffprobe", "-v", "error", "-count_frames", "-select_streams", "v:0", "-show_entries",
             "stream=nb_read_frames,width,height", "-of", "csv=p=0"]
    return tuple(int(v) for v in subprocess.run([*words, file], capture_output=True, text=True).stdout.strip().split(","))


def exports(name, clip, shape, held, project, out):
    def export(form, target):
        said = run("--project", project, "export", clip, "--format", form, "--out", out / target)
        check(f"{name}: {form} states the journal position", "journal position" in said)
        return out / target
    one, names = flat(held), dict(enumerate(held, 1))
    folders = {p.name: p for p in export("png", "png").iterdir()}
    safe = {s: next(l for l in held if s == "".join(c if c.isalnum() or c in "._-" else "_" for c in l)) for s in folders}
    check(f"{name}: png by Pillow", equal(held, read_png(out / "png", safe)))
    check(f"{name}: coco by pycocotools", equal(held, read_coco(export("coco", "runs.json"))))
    check(f"{name}: coco polygons by pycocotools", equal(held, read_coco(export("coco-polygons", "polygons.json"))))
    check(f"{name}: davis by Pillow", equal(one, read_davis(export("davis", "davis"))))
    check(f"{name}: yolo by OpenCV", equal(held, read_yolo(export("yolo", "yolo"), shape)))
    check(f"{name}: labelme by its grammar", equal(held, read_labelme(export("labelme", "labelme"), shape)))
    check(f"{name}: cvat by its grammar", equal(held, read_cvat(export("cvat", "a.xml"), shape)))
    nifti = export("nifti", "labels.nii.gz")
    check(f"{name}: nifti by nibabel", equal(one, from_stack(np.asarray(nibabel.load(nifti).dataobj).T, names)))
    check(f"{name}: nifti by SimpleITK", equal(one, from_stack(sitk.GetArrayFromImage(sitk.ReadImage(str(nifti))), names)))
    plain = export("nrrd", "labels.nrrd")
    check(f"{name}: nrrd by pynrrd", equal(one, from_stack(nrrd.read(str(plain))[0].T, names)))
    check(f"{name}: nrrd by SimpleITK", equal(one, from_stack(sitk.GetArrayFromImage(sitk.ReadImage(str(plain))), names)))
    check(f"{name}: seg.nrrd by pynrrd", equal(held, read_segmentation(export("seg.nrrd", "a.seg.nrrd"), shape)))
    seg = export("dicom-seg", "a.seg.dcm")
    check(f"{name}: dicom-seg by pydicom", equal(held, read_dicom(seg, clip)))
    check(f"{name}: dicom-seg by highdicom", equal(held, read_highdicom(seg, shape)))
    d = pydicom.dcmread(seg)
    lies = ["FrameOfReferenceUID" in d, *(k in d.SharedFunctionalGroupsSequence[0] for k in (
        "PixelMeasuresSequence", "PlaneOrientationSequence")), "PlanePositionSequence" in d.PerFrameFunctionalGroupsSequence[0]]
    check(f"{name}: dicom-seg lies somewhere where the clip does", lies == [name == "volume"] * 4)
    part = pydicom.dcmread(export("dicom-seg-fractional", "f.seg.dcm"))
    check(f"{name}: fractional dicom-seg by pydicom", part.SegmentationType == "FRACTIONAL" and np.array_equal(
        part.pixel_array, pydicom.dcmread(seg).pixel_array.astype(np.uint8) * 255))
    schema, expected = out / "schema.yaml", {i: TISSUE if i else VEIN for i in range(len(held))}
    code = '{scheme: SCT, code: "29092000", meaning: Vein}'
    schema.write_text(f"labels: [{{name: {json.dumps(next(iter(held)))}, terminology: {code}}}]")
    for form, target, read in (("seg.nrrd", "c.seg.nrrd", codes_of), ("dicom-seg", "c.seg.dcm", codes_of_dicom)):
        run("--schema", schema, "--project", project, "export", clip, "--format", form, "--out", out / target)
        check(f"{name}: colours and codes of {form}", read(out / target) == expected)
    check(f"{name}: fractional dicom-seg by highdicom", equal(held, read_highdicom(out / "f.seg.dcm", shape)))
    anonymous(name, clip, shape, project, out)
    check(f"{name}: nnunet by Pillow and nibabel", equal(one, read_nnunet(export("nnunet", "nnunet"), shape)))
    even = tuple(n + n % 2 for n in shape[:0:-1])
    check(f"{name}: mp4 by ffprobe", counted(export("mp4", "a.mp4")) == (*even, shape[0]))
    check(f"{name}: gif by ffprobe", counted(export("gif", "a.gif")) == (*shape[:0:-1], shape[0]))
    rows = list(csv.DictReader(export("csv", "a.csv").open(newline="")))
    areas = sorted((r["label"], int(r["frame"]), int(r["area_px"])) for r in rows)
    check(f"{name}: csv", areas == sorted((l, f, int(m.sum())) for l, fs in held.items() for f, m in fs.items()))
    if name == "volume":
        source = nibabel.load(clip)
        check("volume: nifti lies where the clip lies", np.abs(nibabel.load(nifti).affine - source.affine).max() < 1e-6)
        place, ours = sitk.ReadImage(str(clip)), sitk.ReadImage(str(plain))
        far = np.abs(np.subtract(place.GetOrigin() + place.GetDirection() + place.GetSpacing(),
                                 ours.GetOrigin() + ours.GetDirection() + ours.GetSpacing())).max()
        check("volume: nrrd lies where the clip lies", far < 1e-6)


ALLOWED = """SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID ImageType Modality SeriesNumber InstanceNumber
DerivationDescription PatientIdentityRemoved LongitudinalTemporalInformationModified BurnedInAnnotation PatientName PatientID
PatientBirthDate PatientSex StudyDate StudyTime StudyID AccessionNumber ReferringPhysicianName Manufacturer
DeidentificationMethod DeidentificationMethodCodeSequence PhotometricInterpretation SamplesPerPixel PlanarConfiguration Rows Columns BitsAllocated
BitsStored HighBit PixelRepresentation NumberOfFrames FrameTime FrameIncrementPointer FrameTimeVector PageNumberVector LossyImageCompression
SequenceOfUltrasoundRegions PixelData
""".split()


def anonymous(name, clip, shape, project, out):
    """The clip itself without patient data: by pydicom, whole and with a box, and the images by Pillow."""
    if name == "volume":
        return
    whole, box = f"box:0,0,{shape[2] - 1},{shape[1] - 1}", f"box:20,30,{shape[2] - 41},{shape[1] - 51}"
    for outside, target in ((whole, "whole"), (box, "boxed")):
        run("--project", project, "export", clip, "--format", "dicom", "--outside", outside, "--out", out / f"{target}.dcm")
    def colours(pixels):
        """Frames as RGB, whatever they are."""
        pixels = np.asarray(pixels)
        gray = pixels.shape[-1] != 3
        return np.repeat(pixels.reshape(shape)[..., None], 3, -1) if gray else pixels.reshape(*shape, 3).copy()

    d, part = pydicom.dcmread(out / "whole.dcm"), colours(pydicom.dcmread(out / "boxed.dcm").pixel_array)
    check(f"{name}: only allowed tags", {e.keyword for e in d} <= set(ALLOWED))
    check(f"{name}: nobody's name", not any(d.get(k) for k in ("PatientName", "PatientID", "StudyDate", "AccessionNumber")))
    pixels = colours(d.pixel_array)
    if name == "dicom":  # JPEG in colour: decoders differ in the last bits, and what is nearly gray is gray
        stored = pydicom.dcmread(clip).pixel_array.astype(int)
        flow = np.ptp(stored, axis=-1) >= 28
        check(f"{name}: colours as stored", flow.any() and np.abs(pixels - stored)[flow].max() <= 6)
    run("--project", project, "export", clip, "--format", "frames", "--outside", whole, "--out", out / "frames")
    images = colours([np.asarray(Image.open(out / "frames" / f"{f:05}.png").convert("RGB")) for f in range(shape[0])])
    check(f"{name}: frames by Pillow", np.array_equal(pixels, images))
    called = [pathlib.Path(i["file_name"]).name for i in json.loads((out / "runs.json").read_text())["images"]]
    check(f"{name}: coco calls images as frames does", all((out / "frames" / file).is_file() for file in called))
    inside = np.s_[:, 30:shape[1] - 50, 20:shape[2] - 40]
    check(f"{name}: inside a box as stored", np.array_equal(part[inside], pixels[inside]))
    part[inside] = 0
    check(f"{name}: black outside of it", not part.any())


# ---- writers

FILES = {"still": "usgra_0162.png", "dicom": "frame{:03}.png", "cine": "{:05}.jpg", "volume": "slice{:03}.png"}


def write_coco(name, file, shape, held):
    images = [{"id": f + 1, "file_name": FILES[name].format(f), "height": shape[1], "width": shape[2]} for f in range(shape[0])]
    names, annotations = {l: i for i, l in enumerate(held, 1)}, []
    for label, frames in held.items():
        for frame, m in frames.items():
            code = rle.encode(np.asfortranarray(m.astype(np.uint8)))
            code["counts"] = code["counts"].decode()
            annotations.append({"id": len(annotations) + 1, "image_id": frame + 1, "category_id": names[label],
                                "iscrowd": 1, "area": int(m.sum()), "segmentation": code, "track_id": names[label]})
    cats = [{"id": i, "name": l} for l, i in names.items()]
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": cats}))


def imports(name, clip, shape, held, out):
    one = flat(held)
    numbers = stack(held, shape)
    anonymous = {f"structure {i}": one[l] for i, l in enumerate(one, 1)}

    def comes_in(what, path, expected):
        project, back = out / f"p{checks}", out / f"b{checks}.json"
        run("--project", project, "import", clip, path)
        run("--project", project, "export", clip, "--format", "coco", "--out", back)
        check(f"{name}: import of {what}", equal(expected, read_coco(back)))

    source = nibabel.load(clip) if name == "volume" else None
    affine = source.affine if source else np.eye(4)
    nibabel.save(nibabel.Nifti1Image(numbers.T, affine), out / "n.nii.gz")
    comes_in("nifti by nibabel", out / "n.nii.gz", anonymous)
    nibabel.save(nibabel.Nifti2Image(numbers.T, affine), out / "n2.nii")
    comes_in("nifti-2 by nibabel", out / "n2.nii", anonymous)
    image = sitk.GetImageFromArray(numbers)
    if source:
        image.CopyInformation(sitk.ReadImage(str(clip)))
    for ending in ("nrrd", "mha", "mhd", "nhdr"):
        sitk.WriteImage(image, str(out / f"s.{ending}"), True)
        comes_in(f"{ending} by SimpleITK", out / f"s.{ending}", anonymous)
    if source:
        turned = sitk.DICOMOrient(image, "RAS")
        sitk.WriteImage(turned, str(out / "turned.nrrd"))
        comes_in("a volume turned to RAS by SimpleITK", out / "turned.nrrd", anonymous)
        cut = image[3:40, 2:50, 1:39]
        sitk.WriteImage(cut, str(out / "cut.nii.gz"))
        inside = np.zeros(shape, bool)
        inside[1:39, 2:50, 3:40] = True
        comes_in("a cropped volume by SimpleITK", out / "cut.nii.gz",
                 {l: {f: m & inside[f] for f, m in fs.items()} for l, fs in anonymous.items()})
    davis = out / "davis-in"
    davis.mkdir()
    for frame in range(shape[0]):
        if numbers[frame].any():
            picture = Image.fromarray(numbers[frame], "P")
            picture.putpalette([v for i in range(256) for v in (i, 255 - i, i // 2)])
            picture.save(davis / f"{frame:05}.png")
    if name != "cine":  # its frames have names of their own
        comes_in("indexed PNG by Pillow", davis, anonymous)
    labelme = out / "labelme-in"
    labelme.mkdir()
    run("--project", out / "project", "export", clip, "--format", "dicom-seg", "--out", out / "again.seg.dcm")
    comes_in("dicom-seg", out / "again.seg.dcm", held)
    square = {frame: np.zeros(shape[1:], bool) for frame in (0,)}
    square[0][4:20, 7:30] = True
    (labelme / "00000.json").write_text(json.dumps({
        "version": "5.5.0", "flags": {}, "imagePath": "00000.png", "imageData": None, "imageHeight": shape[1],
        "imageWidth": shape[2], "shapes": [{"label": "square", "points": [[7, 4], [30, 4], [30, 20], [7, 20]],
        "group_id": None, "shape_type": "polygon", "flags": {}}]}))
    comes_in("a labelme polygon", labelme, {"square": square})


def series(out):
    """A folder of DICOM images in no order: SimpleITK's volume is ours, and a label volume falls into place."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    random, folder = np.random.default_rng(2), out / "series"
    folder.mkdir()
    volume = random.integers(0, 255, (9, 20, 30), np.uint8)
    names = random.permutation(9)
    for z, plane in enumerate(volume):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID, meta.MediaStorageSOPClassUID = "1.2.840.10008.1.2.1", "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{z + 1}"
        d = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        d.SOPClassUID, d.SOPInstanceUID, d.Modality = meta.MediaStorageSOPClassUID, f"1.2.3.{z + 1}", "CT"
        d.StudyInstanceUID, d.SeriesInstanceUID, d.FrameOfReferenceUID = "1.2.4", "1.2.5", "1.2.6"
        d.ImagePositionPatient, d.ImageOrientationPatient = [5, -7, 11 + 2.5 * z], [1, 0, 0, 0, 1, 0]
        d.PixelSpacing, d.InstanceNumber = [0.5, 0.25], int(names[z])
        d.SamplesPerPixel, d.PhotometricInterpretation, d.Rows, d.Columns = 1, "MONOCHROME2", 20, 30
        d.BitsAllocated, d.BitsStored, d.HighBit, d.PixelRepresentation = 8, 8, 7, 0
        d.PixelData = plane.tobytes()
        d.save_as(folder / f"IM{names[z]:04}", enforce_file_format=True)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    held = {"structure 1": {z: volume[z] > 200 for z in range(2, 7)}}
    label = sitk.GetImageFromArray(stack(held, volume.shape))
    label.CopyInformation(image)
    sitk.WriteImage(sitk.DICOMOrient(label, "RAI"), str(out / "label.nii.gz"))
    run("--project", out / "project", "import", folder, out / "label.nii.gz")
    for form, target in (("coco", "c.json"), ("nrrd", "l.nrrd"), ("nnunet", "n"), ("dicom-seg", "s.dcm")):
        run("--project", out / "project", "export", folder, "--format", form, "--out", out / target)
    check("series: labels by SimpleITK", equal(held, read_coco(out / "c.json")))
    ours = sitk.ReadImage(str(out / "l.nrrd"))
    far = np.subtract(image.GetOrigin() + image.GetDirection() + image.GetSpacing(),
                      ours.GetOrigin() + ours.GetDirection() + ours.GetSpacing())
    check("series: lies where SimpleITK puts it", np.abs(far).max() < 1e-6)
    picture = nibabel.load(next((out / "n/imagesTr").iterdir()))
    check("series: pixels in order", np.array_equal(np.asarray(picture.dataobj).T, volume))
    d = pydicom.dcmread(out / "s.dcm")
    sources = [g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
               for g in d.PerFrameFunctionalGroupsSequence]
    check("series: dicom-seg refers to its slices", sources == [f"1.2.3.{z + 1}" for z in range(2, 7)])


with tempfile.TemporaryDirectory() as temporary:
    ENVIRONMENT["HOME"] = temporary
    series(pathlib.Path(temporary))
    for name, clip, shape, held in clips():
        out = pathlib.Path(temporary) / name
        out.mkdir()
        write_coco(name, out / "in.json", shape, held)
        run("--project", out / "project", "import", clip, out / "in.json")
        exports(name, clip, shape, held, out / "project", out)
        imports(name, clip, shape, held, out)
print(f"formats: {checks} checks, {checks - len(failed)} equal, {len(failed)} differ")
sys.exit(bool(failed))
