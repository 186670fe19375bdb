"""Writes reading/: tiny DICOM and NIfTI files, one per way of storing, and reading.json: what other readers make of them.

    python3 reading.py       (pip install pydicom numpy nibabel pyjpegls pylibjpeg-openjpeg python-gdcm; the files are new, same licence as the code)

Gray by the rules of src/codec/gray.rs, from the values that pydicom and nibabel give, not from those that were put in.
"""
import json, pathlib, warnings
import nibabel, numpy as np, pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut
from pydicom.sequence import Sequence

warnings.simplefilter("ignore")
HERE = pathlib.Path(__file__).parent
OUT = HERE / "reading"
OUT.mkdir(exist_ok=True)
IMPLICIT, EXPLICIT, DEFLATED, JPEG_LS = (f"1.2.840.10008.1.2{n}" for n in ("", ".1", ".1.99", ".4.80"))
W, H = 12, 10
y, x = np.mgrid[:H, :W]
RGB = np.stack([x * 20 + y, 255 - x * 13 - y, y * 25 + x], -1).astype(np.uint8)
table = {}


def luma(rgb):
    r, g, b = (rgb[..., i].astype(np.uint64) for i in range(3))
    return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)


def ramp(values):
    values = values.astype(float)
    return np.clip(np.round((values - values.min()) / (values.max() - values.min()) * 255), 0, 255)


def image(syntax, kind, pixels, bits=8, samples=1, frames=1, modality="US", **more):
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.3.4"
    ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = meta.MediaStorageSOPClassUID, "1.2.3.4", modality
    ds.StudyInstanceUID, ds.SeriesInstanceUID = "1.2.4", "1.2.5"
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.Rows, ds.Columns = samples, kind, H, W
    if samples == 3:
        ds.PlanarConfiguration = 0
    if frames > 1:
        ds.NumberOfFrames = frames
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = (16 if bits > 8 else 8), bits, bits - 1, 0
    for name, value in more.items():
        setattr(ds, name, value)
    ds.PixelData = encapsulate([pixels]) if syntax == JPEG_LS else pixels
    ds["PixelData"].VR = "OW" if bits > 8 else "OB"
    return ds


def save(name, ds, gray=None, tolerance=0):
    path = OUT / f"{name}.dcm"
    ds.save_as(path, enforce_file_format=True)
    if gray is not None:
        found = gray(pydicom.dcmread(path))
        table[path.name] = {"tolerance": tolerance, "gray": np.asarray(found).astype(int).ravel().tolist()}


def item(**values):
    ds = Dataset()
    for name, value in values.items():
        setattr(ds, name, value)
    return ds


G8 = (x * 17 + y * 7 % 60).astype(np.uint8)
for name, syntax in (("implicit", IMPLICIT), ("deflated", DEFLATED)):
    save(name, image(syntax, "MONOCHROME2", G8.tobytes()), lambda d: d.pixel_array)
save("monochrome1", image(EXPLICIT, "MONOCHROME1", G8.tobytes()), lambda d: 255 - d.pixel_array)
# Of YBR the first sample is the gray.
pairs = RGB.reshape(-1, 2, 3)
f422 = np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], -1)
ybr = lambda d: pydicom.pixels.pixel_array(OUT / "ybr_full_422.dcm", raw=True)[..., 0]
save("ybr_full_422", image(EXPLICIT, "YBR_FULL_422", f422.tobytes(), samples=3), ybr)
save("ybr_full", image(EXPLICIT, "YBR_FULL", RGB.tobytes(), samples=3),
     lambda d: pydicom.pixels.pixel_array(OUT / "ybr_full.dcm", raw=True)[..., 0])
for bits in (9, 10, 12, 14):
    deep = ((x * 5461 + y * 331) >> (16 - bits)).astype(np.uint16)
    save(f"bits_{bits}", image(EXPLICIT, "MONOCHROME2", deep.tobytes(), bits), lambda d: ramp(d.pixel_array), 1)
deep = (x * 340 + y * 30).astype(np.uint16)
lut = item(LUTDescriptor=[4096, 0, 16], LUTData=((4095 - np.arange(4096)) * 16).astype(np.uint16).tobytes())
lut["LUTData"].VR = "OW"
ds = image(EXPLICIT, "MONOCHROME2", deep.tobytes(), 12, VOILUTSequence=Sequence([lut]))
save("voi_lut", ds, lambda d: np.round(apply_voi_lut(apply_modality_lut(d.pixel_array, d), d) / 65535 * 255), 1)
ds = image(EXPLICIT, "PALETTE COLOR", G8.tobytes())
for i, name in enumerate(("Red", "Green", "Blue")):
    colours = ((np.arange(256) * (3 + 2 * i) + 40 * i) % 256).astype(np.uint8)
    setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, 8])
    ds[f"{name}PaletteColorLookupTableDescriptor"].VR = "US"
    setattr(ds, f"{name}PaletteColorLookupTableData", colours.tobytes())
save("palette_8", ds, lambda d: luma(apply_color_lut(d.pixel_array, d)))
import jpeg_ls

for mode, name in ((0, "planes"), (1, "lines"), (2, "samples")):
    stored = RGB if mode else RGB.transpose(2, 0, 1).copy()
    coded = bytes(jpeg_ls.encode_array(stored, interleave_mode=mode))
    save(f"jpeg_ls_{name}", image(JPEG_LS, "RGB", coded, samples=3), lambda d: luma(d.pixel_array))
coded = bytes(jpeg_ls.encode_array((x * 340 + y * 30).astype(np.uint16)))
save("jpeg_ls_12", image(JPEG_LS, "MONOCHROME2", coded, bits=12), lambda d: ramp(d.pixel_array), 1)
ds = image(JPEG_LS, "MONOCHROME2", bytes(jpeg_ls.encode_array(G8, lossy_error=3)))
ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.81"
save("jpeg_ls_near", ds, lambda d: d.pixel_array)

# Compressed by others' encoders: samples that are declared to be colours, or luma and chromas, stay what they are.
import gdcm
from pydicom.uid import RLELossless


def lossless(name, ds, syntax):
    """What GDCM makes of it: pydicom has no encoder of lossless JPEG."""
    path = OUT / f"{name}.dcm"
    ds.save_as(path, enforce_file_format=True)
    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    held = pydicom.dcmread(path)
    frame = next(pydicom.encaps.generate_frames(held.PixelData, number_of_frames=1))
    ds.file_meta.TransferSyntaxUID, ds.PixelData = held.file_meta.TransferSyntaxUID, encapsulate([frame])
    ds["PixelData"].VR = "OB"
    return ds


first = lambda d: pydicom.pixels.pixel_array(d, raw=True)[..., 0]
deep16 = (x * 5461 + y * 331).astype(np.uint16)
for code, syntax in (("57", gdcm.TransferSyntax.JPEGLosslessProcess14), ("70", gdcm.TransferSyntax.JPEGLosslessProcess14_1)):
    save(f"lossless_{code}_8", lossless("x", image(EXPLICIT, "MONOCHROME2", G8.tobytes()), syntax), lambda d: d.pixel_array)
    save(f"lossless_{code}_16", lossless("x", image(EXPLICIT, "MONOCHROME2", deep16.tobytes(), 16), syntax),
         lambda d: ramp(d.pixel_array), 1)
    save(f"lossless_{code}_rgb", lossless("x", image(EXPLICIT, "RGB", RGB.tobytes(), samples=3), syntax),
         lambda d: luma(d.pixel_array))
    ds = lossless("x", image(EXPLICIT, "RGB", RGB.tobytes(), samples=3), syntax)
    ds.PhotometricInterpretation = "YBR_FULL"
    save(f"lossless_{code}_ybr", ds, first)
ds = image(EXPLICIT, "YBR_FULL", RGB.tobytes(), samples=3)
ds.compress(RLELossless)
save("rle_ybr", ds, first)
save("jpeg_ls_ybr", image(JPEG_LS, "YBR_FULL", bytes(jpeg_ls.encode_array(RGB, interleave_mode=1)), samples=3), first)
save("jpeg_2000_16", lossless("x", image(EXPLICIT, "MONOCHROME2", deep16.tobytes(), 16), gdcm.TransferSyntax.JPEG2000Lossless),
     lambda d: ramp(d.pixel_array), 1)
(OUT / "x.dcm").unlink()

# Frames at uneven times; two regions of different scale; stacks of planes in order and shuffled.
cine = np.stack([G8 + i for i in range(4)]).astype(np.uint8)
save("frame_time_vector", image(EXPLICIT, "MONOCHROME2", cine.tobytes(), frames=4,
                                FrameTimeVector=[0, 40, 60, 120], FrameIncrementPointer=0x00181065))


def region(x0, x1, shape, unit, delta):
    return item(RegionSpatialFormat=shape, RegionDataType=1, RegionFlags=0, RegionLocationMinX0=x0,
                RegionLocationMinY0=0, RegionLocationMaxX1=x1, RegionLocationMaxY1=H - 1,
                PhysicalUnitsXDirection=unit, PhysicalUnitsYDirection=unit, PhysicalDeltaX=delta, PhysicalDeltaY=delta)


parts = Sequence([region(0, 4, 1, 3, 0.01), region(5, 9, 1, 3, 0.02), region(10, 10, 3, 4, 0.5)])
save("two_scales", image(EXPLICIT, "MONOCHROME2", G8.tobytes(), SequenceOfUltrasoundRegions=parts))


def enhanced(name, order, modality="MR", positions=True, rescales=None):
    kind = "1.2.840.10008.5.1.4.1.1.4.1" if modality == "MR" else "1.2.840.10008.5.1.4.1.1.2.1"
    held = cine[order] if rescales is None else (cine[order].astype(np.uint16) * 9 + 3)
    bits = 8 if rescales is None else 12
    ds = image(EXPLICIT, "MONOCHROME2", held.tobytes(), bits=bits, frames=4, modality=modality)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = kind
    ds.SharedFunctionalGroupsSequence = Sequence([item(
        PixelMeasuresSequence=Sequence([item(PixelSpacing=[0.5, 0.25], SliceThickness=2)]),
        PlaneOrientationSequence=Sequence([item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]))])
    frames = []
    for z in order:
        content = Sequence([item(StackID="1", InStackPositionNumber=z + 1)])
        frames.append(item(FrameContentSequence=content))
        if positions:
            frames[-1].PlanePositionSequence = Sequence([item(ImagePositionPatient=[1, 2, 3 + 2.0 * z])])
        if rescales is not None:
            slope, intercept = rescales[z]
            frames[-1].PixelValueTransformationSequence = Sequence(
                [item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")])
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    save(name, ds, None if rescales is None else lambda read: last_rescaled(read, order))


def last_rescaled(read, order):
    """The frame that lies highest, where the ramp goes over what all frames mean."""
    groups = [group.PixelValueTransformationSequence[0] for group in read.PerFrameFunctionalGroupsSequence]
    meant = np.stack([p.astype(float) * float(g.RescaleSlope) + float(g.RescaleIntercept)
                      for p, g in zip(read.pixel_array, groups)])
    return ramp(meant)[order.index(3)]


enhanced("enhanced_in_order", [0, 1, 2, 3])
enhanced("enhanced_downwards", [3, 2, 1, 0], "CT")
enhanced("enhanced_shuffled", [2, 0, 3, 1], "CT")
enhanced("enhanced_by_number", [2, 0, 3, 1], positions=False)
enhanced("enhanced_rescaled", [2, 0, 3, 1], rescales=[(0.5, 0), (1, -40), (2.5, 7), (0.25, 100)])

# A series of positron emission, every image of which has a slope of its own.
(OUT / "pet").mkdir(exist_ok=True)
for z, slope in enumerate([0.5, 3.0, 1.25]):
    ds = image(EXPLICIT, "MONOCHROME2", (cine[z].astype(np.uint16) * 11).tobytes(), bits=16, modality="PT",
               RescaleSlope=slope, RescaleIntercept=0, InstanceNumber=z + 1, PixelSpacing=[0.5, 0.5],
               ImagePositionPatient=[0, 0, 2.0 * z], ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.4.{z}"
    save(f"pet/{z}", ds)
pet = np.stack([apply_modality_lut((read := pydicom.dcmread(OUT / f"pet/{z}.dcm")).pixel_array, read) for z in range(3)])
table["pet"] = {"tolerance": 0, "gray": ramp(pet)[2].astype(int).ravel().tolist()}

# Five moments of a volume of 4 x 3 x 2 voxels: voxel (x, y, z) at t has the value x + 10 y + 30 z + 60 t.
v = np.fromfunction(lambda x, y, z, t: x + 10 * y + 30 * z + 60 * t, (4, 3, 2, 4)).astype(np.uint8)
affine = np.array([[0.0, 0.5, 0, 108.123456789], [0.25, 0, 0, -33.3333333], [0, 0, 2.0, 7.7777777], [0, 0, 0, 1]])
four = nibabel.Nifti1Image(v, affine)
four.header.set_zooms((0.25, 0.5, 2.0, 40.0))
four.header.set_xyzt_units("mm", "msec")
nibabel.save(four, OUT / "four.nii")
nibabel.save(nibabel.Nifti2Image(v[..., 0], affine), OUT / "second.nii")
table["second.nii"] = {"tolerance": 0, "gray": nibabel.load(OUT / "second.nii").get_fdata()[..., -1].T.astype(int).ravel().tolist()}
lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(table.items())]
(HERE / "reading.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
