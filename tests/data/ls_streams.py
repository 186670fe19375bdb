"""Writes ls_streams.json: tiny JPEG-LS streams of every kind, coded by CharLS, and the samples that CharLS reads from them.

    python3 ls_streams.py       (pip install numpy pyjpegls imagecodecs; the streams are new, same licence as the code)

Samples come pixel by pixel. Restart marks, colours that HP's encoder transforms, and values of fewer bits than their frame declares
are put into streams of CharLS by hand: it writes none of them here. It reads the first two; of the third the samples are those
that were coded.
"""
import base64, json, pathlib, struct
import imagecodecs, jpeg_ls, numpy as np

HERE = pathlib.Path(__file__).parent
rng = np.random.default_rng(14495)
table = {}


def pictures(w, h, bits):
    top = (1 << bits) - 1
    y, x = np.mgrid[:h, :w]
    smooth = np.clip((np.sin(x / 5) + np.cos(y / 4) + 2) / 4 * top + rng.normal(0, top / 60, (h, w)), 0, top)
    runs = np.where((x + 2 * y) % 23 < 17, top // 3, smooth)
    out = {"smooth": smooth, "runs": runs, "noise": rng.integers(0, top + 1, (h, w)), "flat": np.full((h, w), top // 2)}
    return {name: values.astype(np.uint8 if bits <= 8 else np.uint16) for name, values in out.items()}


def told(name, coded, samples=None):
    if samples is None:
        held, info = jpeg_ls.decode_buffer(coded)
        samples = np.frombuffer(bytes(held), np.uint8 if info["bits_per_sample"] <= 8 else np.uint16)
        # CharLS gives planes only where the scans are planes.
        count = coded[coded.index(b"\xff\xda") + 4]
        if info["components"] > 1 and count == 1:
            samples = samples.reshape(info["components"], -1).T
    table[name] = {"stream": base64.b64encode(coded).decode(), "samples": samples.astype(int).ravel().tolist()}


def coded(stored, near=0, mixing=None):
    """The precision is that of the largest value."""
    stored = np.ascontiguousarray(stored)
    try:
        return bytes(jpeg_ls.encode_array(stored, lossy_error=near, interleave_mode=mixing))
    except RuntimeError:
        return bytes(imagecodecs.jpegls_encode(stored, level=near))


def with_segment(stream, before, segment):
    at = stream.index(before)
    return stream[:at] + segment + stream[at:]


def topped(stored, bits):
    stored = stored.copy()
    stored.flat[-1] = (1 << bits) - 1
    return stored


for bits in (2, 5, 8, 10, 12, 16):
    for near in (0, 1, 3):
        if near <= ((1 << bits) - 1) // 2:
            for kind in ("smooth", "runs"):
                told(f"{bits} bits, near {near}, {kind}", coded(topped(pictures(13, 8, bits)[kind], bits), near))
for w, h in ((1, 1), (1, 11), (11, 1), (90, 3)):
    told(f"{w} x {h}", coded(topped(pictures(w, h, 8)["smooth"], 8)))
for kind in ("noise", "flat"):
    told(kind, coded(topped(pictures(300 if kind == "flat" else 9, 6, 8)[kind], 8)))
for mixing in (0, 1, 2):
    for near, kinds in ((0, ("smooth", "runs", "noise")), (1, ("runs", "runs", "flat")), (3, ("smooth",) * 3), (0, ("flat", "runs", "smooth", "runs"))):
        held = pictures(12, 7, 8)
        stored = np.stack([held[kind] for kind in kinds], 0 if mixing == 0 else -1)
        told(f"{len(kinds)} components, mixing {mixing}, near {near}, {kinds[0]}", coded(topped(stored, 8), near, mixing))

picture = topped(pictures(10, 22, 8)["runs"], 8)
parts = [bytes(imagecodecs.jpegls_encode(np.ascontiguousarray(picture[i:i + 2]))) for i in range(0, 22, 2)]
scan = parts[0].index(b"\xff\xda")
begin = scan + 2 + struct.unpack(">H", parts[0][scan + 2:scan + 4])[0]
frame = parts[0].index(b"\xff\xf7")
whole = parts[0][:frame + 5] + struct.pack(">H", 22) + parts[0][frame + 7:scan] + b"\xff\xdd\0\x04\0\x02" + parts[0][scan:begin]
for i, part in enumerate(parts):
    whole += part[begin:-2] + bytes([0xff, 0xd0 + i % 8])
told("restart marks", whole[:-2] + b"\xff\xd9")

held = pictures(9, 7, 8)
stream = coded(topped(np.stack([held["smooth"], held["runs"], held["noise"]], -1), 8), 0, 2)
for kind in (1, 2, 3):
    told(f"transformed {kind}", with_segment(stream, b"\xff\xf7", b"\xff\xe8\0\x07mrfx" + bytes([kind])))

for bits, near in ((6, 0), (7, 3), (10, 0)):
    stored = topped(pictures(13, 9, bits)["smooth"], bits)
    stream = coded(stored, near)
    samples = np.frombuffer(bytes(jpeg_ls.decode_buffer(stream)[0]), stored.dtype)
    stream = with_segment(stream, b"\xff\xda", b"\xff\xf8\0\x0d\x01" + struct.pack(">5H", (1 << bits) - 1, 0, 0, 0, 0))
    at = stream.index(b"\xff\xf7") + 4
    wide = 8 if bits <= 8 else 16
    told(f"values up to {(1 << bits) - 1} of {wide} bits", stream[:at] + bytes([wide]) + stream[at + 1:], samples)
lines = [f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in table.items()]
(HERE / "ls_streams.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
