"""Writes pictures/: WebP (still, animated) and TIFF (palettes, fractions, signs, L*a*b*), and pictures.json: the gray that Pillow, tifffile and LittleCMS make of them.

    python3 pictures.py       (pip install numpy pillow tifffile imagecodecs; ImageMagick's convert; the files are new, same licence as the code)
"""
import json, pathlib, struct, subprocess
import imagecodecs, numpy as np, tifffile
from PIL import Image, ImageCms, ImageSequence

HERE = pathlib.Path(__file__).parent
OUT = HERE / "pictures"
OUT.mkdir(exist_ok=True)
W, H = 40, 24
y, x = np.mgrid[:H, :W]
table = {}


def told(name, frames, tolerance=0):
    table[name] = {"tolerance": tolerance, "frames": [np.asarray(f).astype(int).ravel().tolist() for f in frames]}


def moment(i):
    """A square that wanders over a ramp; of the fourth on, everything changes."""
    picture = np.stack([x * 5 + (i > 3) * 20, y * 9, x + y], -1).astype(np.uint8)
    picture[4:10, 3 * i:3 * i + 6] = [250, 240 - 20 * i, 200]
    return Image.fromarray(picture)


def gray(name):
    return [frame.convert("RGB").convert("L") for frame in ImageSequence.Iterator(Image.open(OUT / name))]


# Decoders round where they blend a moment into the one before: off by one.
moments = [moment(i) for i in range(7)]
even, uneven = 40, [40, 80, 40, 20, 40, 40, 100]
for name, duration, options, tolerance in (
    ("lossless.webp", uneven, dict(lossless=True, kmin=3, kmax=4), 1),
    ("no_keys.webp", even, dict(lossless=True, kmin=0, kmax=0), 1),
    ("lossy.webp", even, dict(quality=90), 8),
):
    moments[0].save(OUT / name, save_all=True, append_images=moments[1:], duration=duration, loop=0, **options)
    told(name, gray(name), tolerance)
# Moments that leave holes where the next one does not paint.
holes = []
for i in range(4):
    picture = np.zeros((H, W, 4), np.uint8)
    picture[2 + i:8 + i, 5 * i:5 * i + 9] = [200, 60 * i, 90, 255]
    holes.append(Image.fromarray(picture))
holes[0].save(OUT / "holes.webp", save_all=True, append_images=holes[1:], duration=even, lossless=True)
told("holes.webp", gray("holes.webp"), 1)
moments[5].save(OUT / "still.webp", lossless=True)
moments[5].save(OUT / "still_lossy.webp", quality=90)
told("still.webp", gray("still.webp"))
told("still_lossy.webp", gray("still_lossy.webp"), 8)

palette = moments[4].quantize(200)
palette.save(OUT / "palette.tif", compression="tiff_lzw")
tifffile.imwrite(OUT / "palette_pages.tif", np.stack([np.asarray(palette), 199 - np.asarray(palette)]), photometric="palette",
                 byteorder=">", colormap=np.array(np.random.default_rng(4).integers(0, 65536, (3, 256)), np.uint16), metadata=None)
for name in ("palette.tif", "palette_pages.tif"):
    told(name, gray(name))


def indexed(name, indices, bits, colours, order="<"):
    """A TIFF of `bits` bits by hand, of a palette or (without colours) of gray: rows are packed from the highest bits of a byte on. Two strips."""
    h, w = indices.shape
    shifts = np.arange(bits - 1, -1, -1)
    rows = [np.packbits((row[:, None] >> shifts & 1).astype(np.uint8).ravel()).tobytes() for row in indices.astype(int)]
    half = h // 2
    strips = [b"".join(rows[:half]), b"".join(rows[half:])]
    at = 8
    places = []
    out = bytearray()
    for part in strips + ([] if colours is None else [colours.astype(order + "u2").tobytes()]):
        places.append(at)
        out += part + b"\0" * (len(part) % 2)
        at = 8 + len(out)
    lists = at
    out += struct.pack(order + "4I", *places[:2], *map(len, strips))
    short, long = lambda tag, value: (tag, 3, 1, value), lambda tag, count, value: (tag, 4, count, value)
    entries = [short(256, w), short(257, h), short(258, bits), short(259, 1), short(262, 1 if colours is None else 3), long(273, 2, lists),
               short(277, 1), short(278, half), long(279, 2, lists + 8)]
    if colours is not None:
        entries.append((320, 3, colours.size, places[2]))
    directory = 8 + len(out)
    out += struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        inline = struct.pack(order + "HH", value, 0) if kind == 3 and count == 1 else struct.pack(order + "I", value)
        out += struct.pack(order + "HHI", tag, kind, count) + inline
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, directory)
    (OUT / name).write_bytes(head + out + b"\0" * 4)
    if colours is not None:
        read, held = tifffile.imread(OUT / name).astype(int), tifffile.TiffFile(OUT / name).pages[0].colormap
        rgb = Image.fromarray((np.moveaxis(held[:, read], 0, -1) >> 8).astype(np.uint8))
        assert (np.asarray(gray(name)[0]) == np.asarray(rgb.convert("L"))).all(), "tifffile sees it otherwise"
    told(name, gray(name))


colours = np.random.default_rng(5)
for bits, order in ((1, "<"), (2, ">"), (4, "<")):
    count = 1 << bits
    # An odd width: rows end within a byte.
    indices = ((x * 3 + y * 5) // 4 % count)[:, :W - 3]
    indexed(f"palette_{bits}.tif", indices, bits, colours.integers(0, 65536, (3, count)), order)
for bits in (2, 4):
    indexed(f"gray_{bits}.tif", ((x + y) // 3 % (1 << bits))[:, :W - 3], bits, None)


def ramp(values):
    finite = values[np.isfinite(values)].astype(float)
    low, high = finite.min(), finite.max()
    return np.nan_to_num(np.clip(np.round((values.astype(float) - low) / (high - low) * 255), 0, 255), nan=0)


echo = np.stack([np.sin(x / 5 + i) * np.exp(-y / 20) - 0.1 * i for i in range(3)])
echo[0, 0, 0] = np.nan
for name, values, how in (
    ("float32.tif", echo.astype(np.float32), dict(compression="zlib", predictor=3)),
    ("float64.tif", echo[1], {}),
    ("float16.tif", echo[2].astype(np.float16), {}),
    ("int16.tif", (echo[1] * 9000).astype(np.int16), {}),
    ("uint32.tif", ((echo[1] + 2) * 1e9).astype(np.uint32), {}),
):
    tifffile.imwrite(OUT / name, values, photometric="minisblack", metadata=None, **how)
    read = tifffile.imread(OUT / name).reshape(-1, H, W)
    told(name, ramp(read), 1)


def rgb_of(lab):
    """L*a*b* as LittleCMS has it shown."""
    return imagecodecs.cms_transform(lab.astype(float), imagecodecs.cms_profile("lab4"), imagecodecs.cms_profile("srgb"), colorspace="lab",
                                     outcolorspace="rgb", outdtype="uint8")


def gray_of(rgb):
    return np.asarray(Image.fromarray(rgb).convert("L")).astype(int)


# All the way from black to white, with more colour than sRGB has in places.
lab = np.stack([x * 100 / (W - 1), (y - H / 2) * 8 + x % 7, (W / 2 - x) * 5 + y % 5], -1)
for name, kind, bits, how in (
    ("lab_8.tif", 8, 8, dict(compression="lzw", predictor=2)),
    ("lab_16.tif", 8, 16, dict(byteorder=">")),
    ("lab_icc_8.tif", 9, 8, dict(byteorder=">")),
    ("lab_icc_16.tif", 9, 16, dict(compression="zlib", rowsperstrip=5)),
):
    white = {(8, 8): 255, (9, 8): 255, (8, 16): 65535, (9, 16): 0xFF00}[kind, bits]
    scale, middle = 1 << bits - 8, 1 << bits - 1 if kind == 9 else 0
    stored = np.round(np.stack([lab[..., 0] * white / 100, lab[..., 1] * scale + middle, lab[..., 2] * scale + middle], -1)).astype(int)
    held = (stored & (1 << bits) - 1).astype(np.uint8 if bits == 8 else np.uint16)
    tifffile.imwrite(OUT / name, held, photometric=kind, metadata=None, **how)
    assert (tifffile.imread(OUT / name) == held).all()
    values = np.stack([stored[..., 0] * 100 / white, *((stored[..., i] - middle) / scale for i in (1, 2))], -1)
    told(name, [gray_of(rgb_of(values))], 1)
    if (kind, bits) == (8, 8):
        # Without leave to optimise: through a table LittleCMS is off by up to 9 near the edge of what sRGB shows.
        how = dict(renderingIntent=ImageCms.Intent.PERCEPTUAL, flags=ImageCms.Flags.NOOPTIMIZE)
        transform = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB", **how)
        read = np.asarray(ImageCms.applyTransform(Image.open(OUT / name), transform).convert("L")).astype(int)
        assert abs(read - gray_of(rgb_of(values))).max() <= 1, "Pillow sees it otherwise"
# As another program writes it.
moments[4].save(OUT / "moment.png")
subprocess.run(["convert", OUT / "moment.png", "-colorspace", "Lab", "-strip", OUT / "lab_magick.tif"], check=True)
(OUT / "moment.png").unlink()
page = tifffile.TiffFile(OUT / "lab_magick.tif").pages[0]
read = page.asarray()
assert page.photometric == 8 and read.dtype == np.uint8, (page.photometric, read.dtype)
read = np.concatenate([read[..., :1] * (100 / 255), read[..., 1:].view(np.int8)], -1)
told("lab_magick.tif", [gray_of(rgb_of(read))], 1)
# It counts from another white (D65), so strong colours are not quite what they were before it wrote them; grays are.
off = abs(gray_of(rgb_of(read)) - gray_of(np.asarray(moments[4])))
assert off.mean() < 3 and off.max() < 20, (off.mean(), off.max())
lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in sorted(table.items())]
(HERE / "pictures.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
