"""Writes codec_expected.json: what pydicom, Pillow and nibabel make of the files named on the command line.

    python3 codec_expected.py FOLDER... > codec_expected.json     (pip install pydicom pillow numpy nibabel pylibjpeg[all])

Gray by the rules of src/codec/gray.rs: luma of Pillow's mode "L", the file's window, palettes of 16 bits by their
high byte. `sha256` is of the first and last frame's gray bytes where decoding is exact; `grid` holds 8 x 8
gray values of the last frame, to be met within `tolerance`. Of files in colour `coloured` is how many pixels of
the last frame are no gray (channels 24 or more apart), and `colours` some of them: place, red, green, blue.
"""
import hashlib, json, pathlib, sys, warnings
import numpy as np

warnings.simplefilter("ignore")


def luma(rgb):
    r, g, b = (rgb[..., i].astype(np.uint64) for i in range(3))
    return ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16).astype(np.uint8)


def dicom(path):
    import pydicom
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut

    ds = pydicom.dcmread(path)
    pixels, kind = ds.pixel_array, ds.PhotometricInterpretation
    frames = int(ds.get("NumberOfFrames", 1) or 1)
    pixels = pixels if frames > 1 else pixels[None]
    # JPEG baseline and extended and irreversible JPEG 2000 leave a decoder room in the last bits.
    lossy = str(ds.file_meta.TransferSyntaxUID) in [f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 91)]
    tolerance, rgb = 3 if lossy else 0, None
    if kind == "PALETTE COLOR":
        rgb = np.stack([apply_color_lut(p, ds) for p in pixels])
        rgb = (rgb >> 8) if rgb.dtype == np.uint16 else rgb
        gray = luma(rgb)
    elif ds.SamplesPerPixel == 3:
        # pydicom turns JPEG's YBR into RGB by itself.
        gray, rgb = luma(pixels), pixels
    elif "WindowCenter" in ds:
        out = np.stack([apply_voi_lut(apply_modality_lut(p, ds), ds) for p in pixels]).astype(float)
        bits = ds.BitsStored
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if ds.PixelRepresentation else (0, 2**bits - 1)
        gray, tolerance = np.clip(np.round((out - low) / (high - low) * 255), 0, 255).astype(np.uint8), 1
    elif ds.BitsStored > 8:
        spread = [i * (frames - 1) // max(min(frames, 16) - 1, 1) for i in range(min(frames, 16))]
        low, high = pixels[spread].min(), pixels[spread].max()
        gray, tolerance = np.clip(np.round((pixels - float(low)) / (high - low) * 255), 0, 255).astype(np.uint8), 1
    else:
        gray = pixels.astype(np.uint8)
    return gray, max(tolerance, 3 if lossy else 0), rgb


def nifti(path):
    import nibabel

    data = np.asarray(nibabel.load(path).dataobj, dtype=np.float64)
    low, high = data.min(), data.max()
    gray = np.clip(np.floor((data - low) / (high - low) * 255 + 0.5), 0, 255).astype(np.uint8)
    return gray.transpose(2, 1, 0), 1, None


def still(path):
    from PIL import Image

    return np.asarray(Image.open(path).convert("L"))[None], 0, None


def entry(path):
    read = dicom if path.suffix == ".dcm" else nifti if path.name.endswith(".nii.gz") else still
    gray, tolerance, rgb = read(path)
    frames, height, width = gray.shape
    rows, columns = (np.arange(8) * height // 8, np.arange(8) * width // 8)
    found = {"frames": frames, "size": [width, height], "tolerance": tolerance,
             "grid": gray[-1][np.ix_(rows, columns)].ravel().tolist()}
    if tolerance == 0:
        found["sha256"] = [hashlib.sha256(gray[i].tobytes()).hexdigest() for i in (0, -1)]
    if rgb is not None:
        last = rgb[-1].reshape(-1, 3).astype(int)
        places = np.flatnonzero(np.ptp(last, axis=1) >= 24)
        some = places[:: max(len(places) // 48, 1)][:48]
        found["coloured"] = len(places)
        found["colours"] = [[int(at), *last[at].tolist()] for at in some]
    return found


table = {}
for folder in map(pathlib.Path, sys.argv[1:]):
    for path in sorted(folder.iterdir()):
        if not path.name.endswith((".dcm", ".nii.gz", ".png")) or path.name.endswith(".mask.png"):
            continue
        try:
            table[path.name] = entry(path)
        except Exception as error:  # compressed kinds that need more plug-ins, truncated files
            print(path.name, "left out:", str(error)[:90], file=sys.stderr)
lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(table.items())]
print("{\n" + ",\n".join(lines) + "\n}")
