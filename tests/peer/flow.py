#!/usr/bin/env python3
"""Dense optical flow (OpenCV's DIS) on clips with masks: what `sonomark evaluate video` has to beat.

    flow.py CLIPS [--json OUT]      needs opencv-python-headless, numpy, PyYAML

The exact mask of the first visible frame is carried frame by frame to the end of the clip by the flow between neighbours;
mean IoU over the later frames of the true windows, mean over structures, for each preset: the protocol of
`sonomark evaluate video --exact --rounds 1`.
"""
import argparse
import json
import pathlib

import cv2
import numpy as np
import yaml

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def iou(a, b):
    union = np.logical_or(a, b).sum()
    return 1.0 if union == 0 else np.logical_and(a, b).sum() / union


def carried(frames, mask, dis):
    """The mask on every later frame, as a soft mask warped by the flow from each frame to the one before."""
    height, width = mask.shape
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    soft = mask.astype(np.float32)
    for before, now in zip(frames, frames[1:]):
        flow = dis.calc(now, before, None)
        soft = cv2.remap(soft, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR)
        yield soft > 0.5


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("clips", type=pathlib.Path)
    args.add_argument("--json", type=pathlib.Path)
    args = args.parse_args()
    windows = yaml.safe_load((args.clips / "windows.yaml").read_text())
    scores = {name: [] for name in PRESETS}
    for clip, about in windows.items():
        folder = args.clips / clip
        names = sorted(folder.glob("*.jpg"))
        frames = [cv2.imread(str(name), cv2.IMREAD_GRAYSCALE) for name in names]
        labels = [cv2.imread(str(name.with_suffix(".mask.png")), cv2.IMREAD_UNCHANGED) for name in names]
        for number, structure in about["objects"].items():
            visible = [f for first, last in structure["windows"] for f in range(first, last + 1)]
            if len(visible) < 2:
                continue
            first = visible[0]
            for name, preset in PRESETS.items():
                dis = cv2.DISOpticalFlow_create(preset)
                masks = [labels[first] == number, *carried(frames[first:], labels[first] == number, dis)]
                scores[name].append(np.mean([iou(masks[f - first], labels[f] == number) for f in visible[1:]]))
    report = {"structures": len(scores["medium"]), "iou": {name: float(np.mean(s)) for name, s in scores.items()}}
    print(json.dumps(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
