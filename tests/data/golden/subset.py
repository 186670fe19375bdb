#!/usr/bin/env python3
"""Cuts the committed fixture out of the full golden set: subset.py FULL_DIR OUT_DIR (no packages needed)."""
import json, struct, sys

def read(path):
    raw = open(path, "rb").read()
    (n,) = struct.unpack("<Q", raw[:8])
    head = json.loads(raw[8:8 + n])
    head.pop("__metadata__", None)
    return {k: (v["dtype"], v["shape"], raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]]) for k, v in head.items()}

def write(path, tensors):
    head, body = {}, b""
    for k in sorted(tensors):
        dtype, shape, data = tensors[k]
        head[k] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(head, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)

full, out = sys.argv[1:3]
if full.endswith("golden_samusa.safetensors"):
    # Inputs are formulas of the test; of each plane every 31st value is kept.
    def sampled(name, dtype, shape, data):
        if not name.endswith((".grad_logits", ".smooth")):
            return dtype, shape, data
        kept = b"".join(data[i:i + 4] for i in range(0, len(data), 4 * 31))
        return dtype, [len(kept) // 4], kept
    KEEP = (".exponent", ".loss", ".grad_logits", ".smooth", ".points", ".gt_boundary_yx", ".sequence_first17_exclude5")
    write(f"{out}/golden_samusa.safetensors", {k: sampled(k, *v) for k, v in read(full).items() if k.endswith(KEEP)})
    sys.exit()
DROP = ("img.preproc_pil_bicubic_u8", "img.p1.multi.masks_orig_logits", "img.fpn_pos.0", "img.fpn_pos.1", "img.fpn.3")
img = read(f"{full}/golden_nano_img.safetensors")
write(f"{out}/golden_nano_img.safetensors", {k: v for k, v in img.items() if k not in DROP})
write(f"{out}/golden_nano_unit.safetensors", read(f"{full}/golden_nano_unit.safetensors"))
