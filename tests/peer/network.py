#!/usr/bin/env python3
"""Ours beside the PyTorch original: processor and wall seconds of each stage, same weights, alternating runs.

    tests/peer/network.py --sonomark target/release/sonomark [--json OUT] [--only tiny-512,...] [--rounds 3]

Installs `torch` and `sam2` (CPU, about 5 GB) into a virtual environment under $XDG_CACHE_HOME/sonomark/peer, unless
--python names an interpreter that has them. Weights are generated from a seed there, once, in the official layout;
both sides read the same file. Each round runs `sonomark bench stages`, then the original, with --threads threads; a
stage's number is the median of its rounds, a round's the median of its repetitions after a first one that is not
counted. Ratios are of processor seconds (user and system), which another program's load disturbs least; with
--device gpu both run on the graphics card (ours through Vulkan, the original through CUDA with PyTorch's defaults) and
ratios are of wall seconds.

Writes {"tiny-512": {"frame": {"ours_s", "theirs_s", "ratio", "ours_wall_s", "theirs_wall_s"}, "encoder": ..}, ..}.
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import venv

HERE = pathlib.Path(__file__).resolve()
CARDS = HERE.parents[2] / "models"
SIZES = {"tiny": "t", "small": "s", "base-plus": "b+", "large": "l"}
DEFAULT = "tiny-512,base-plus-512,tiny-1024,base-plus-1024"
STAGES = ["encoder", "prompt_decoder", "memory_attention", "memory_encoder", "frame"]
PACKAGES = ["torch==2.5.1", "torchvision==0.20.1", "numpy<2.3", "safetensors", "hydra-core", "iopath", "pillow", "tqdm",
            "setuptools", "wheel"]
SEED = 58
# Where the original runs; its own process reads it.
DEVICE = "cuda" if os.environ.get("SONOMARK_PEER_DEVICE") == "gpu" else "cpu"
ENOUGH_S = 4.0


def cache_folder():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = pathlib.Path(base) / "sonomark" / "peer"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def interpreter(folder):
    """An interpreter with the original installed."""
    home = folder / "venv"
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        print(f"installing the original into {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        pip = [str(python), "-m", "pip", "install", "-q"]
        subprocess.run([*pip, *PACKAGES], check=True)
        no_cuda = {**os.environ, "SAM2_BUILD_CUDA": "0"}
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "sam2==1.1.0"], check=True, env=no_cuda)
        (home / "complete").touch()
    return str(python)


def split(name):
    size, pixels = name.rsplit("-", 1)
    if size not in SIZES or pixels not in ("512", "1024"):
        raise SystemExit(f"network.py: `{name}` is none of " + ", ".join(f"{s}-512, {s}-1024" for s in SIZES))
    return size, int(pixels)


# ---------------------------------------------------------------- the original, in its own process


def build(size, pixels):
    import torch
    from sam2.build_sam import build_sam2_video_predictor

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    config = f"configs/sam2.1/sam2.1_hiera_{SIZES[size]}.yaml"
    extra = [f"++model.image_size={pixels}"]
    return build_sam2_video_predictor(config, None, device=DEVICE, hydra_overrides_extra=extra).eval()


def write_weights(size, path):
    """Uniform weights of the scale that layers of this fan-in have; norms near 1, objects present."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = {}
    for key, old in build(size, 1024).state_dict().items():
        centre, half = 0.0, 0.5
        if key.endswith("pred_obj_score_head.layers.2.bias"):
            centre, half = 3.0, 0.1
        elif key.endswith(".bias"):
            half = 0.1
        elif key.endswith(".gamma"):
            centre, half = 0.5, 0.25
        elif old.dim() == 1:
            centre, half = 1.0, 0.1
        elif old.dim() in (2, 4) and old[0].numel() > 1 and "embed" not in key and "token" not in key:
            half = (3.0 / old[0].numel()) ** 0.5
        out[key] = (torch.rand(old.shape) * 2 - 1) * half + centre
    save_file(out, path)


def measured(run):
    import torch

    wait = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None

    def run_to_end():
        run()
        wait()

    run_to_end()
    cpu, wall, begun = [], [], time.perf_counter()
    while len(wall) < 3 or (len(wall) < 15 and time.perf_counter() - begun < ENOUGH_S):
        c, w = time.process_time(), time.perf_counter()
        run_to_end()
        cpu.append(time.process_time() - c)
        wall.append(time.perf_counter() - w)
    return {"cpu_s": statistics.median(cpu), "wall_s": statistics.median(wall)}


def original(size, pixels, weights):
    import torch
    from safetensors.torch import load_file

    model = build(size, pixels)
    model.load_state_dict(load_file(weights))
    side = pixels // 16
    with torch.inference_mode(), torch.device(DEVICE):
        image = torch.sin(torch.arange(3 * pixels * pixels) * 0.37).reshape(1, 3, pixels, pixels)
        mask = torch.sin(torch.arange(pixels * pixels) * 0.11).reshape(1, 1, pixels, pixels) * 10

        def encode():
            return model.forward_image(image)

        features = encode()
        _, vision, place, sizes = model._prepare_backbone_features(features)
        embed = features["backbone_fpn"][2] + model.no_mem_embed.view(1, -1, 1, 1)
        fine = features["backbone_fpn"][:2]
        click = torch.tensor([[[pixels / 2, pixels / 2]]])

        def decode():
            sparse, dense = model.sam_prompt_encoder(
                points=(click, torch.ones(1, 1, dtype=torch.int32)), boxes=None, masks=None)
            model.sam_mask_decoder(
                image_embeddings=embed, image_pe=model.sam_prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=sparse, dense_prompt_embeddings=dense, multimask_output=True,
                repeat_image=False, high_res_features=fine)

        tokens = 7 * side * side + 8 * 4
        memory, memory_place = torch.randn(tokens, 1, 64), torch.randn(tokens, 1, 64)

        def read():
            model.memory_attention(curr=vision[-1:], curr_pos=place[-1:], memory=memory, memory_pos=memory_place,
                                   num_obj_ptr_tokens=8 * 4)

        def remember():
            model.memory_encoder(features["backbone_fpn"][2], mask, skip_mask_sigmoid=True)

        bank = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}

        def step(frame, prompt=None):
            out = encode()
            _, vision, place, sizes = model._prepare_backbone_features(out)
            found = model.track_step(
                frame_idx=frame, is_init_cond_frame=prompt is not None, current_vision_feats=vision,
                current_vision_pos_embeds=place, feat_sizes=sizes, point_inputs=prompt, mask_inputs=None,
                output_dict=bank, num_frames=1000)
            keep = ("maskmem_features", "maskmem_pos_enc", "obj_ptr")
            kind = "non_cond_frame_outputs" if prompt is None else "cond_frame_outputs"
            bank[kind][frame] = {k: found[k] for k in keep}

        step(0, {"point_coords": click * 0.6, "point_labels": torch.ones(1, 1, dtype=torch.int32)})
        for frame in range(1, 8):
            step(frame)
        following = iter(range(8, 1000))
        runs = [encode, decode, read, remember, lambda: step(next(following))]
        return {name: measured(run) for name, run in zip(STAGES, runs)}


# ---------------------------------------------------------------- both, in turn


def card_with(weights, size, pixels, folder, cards):
    """The shipped card of this size, beside the generated weights."""
    name = f"sam2.1-{size}" + ("-512" if pixels == 512 else "")
    text = (cards / f"{name}.yaml").read_text()
    line = f"weights: {{file: {weights.name}, licence: none, lineage: generated from seed {SEED}}}"
    text, count = re.subn(r"(?m)^weights:.*(\n[ \t]+.*)*", line, text)
    if count != 1:
        raise SystemExit(f"network.py: {name}.yaml has no section `weights`")
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--sonomark", default="target/release/sonomark", help="the program to measure")
    ask.add_argument("--json", type=pathlib.Path, help="write the table here too")
    ask.add_argument("--only", default=DEFAULT, help="sizes, separated by commas")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--threads", type=int, default=2)
    ask.add_argument("--device", choices=["cpu", "gpu"], default="cpu")
    ask.add_argument("--python", help="an interpreter that has torch and sam2")
    ask.add_argument("--cards", type=pathlib.Path, default=CARDS, help="folder of the model cards")
    ask.add_argument("--original", nargs=3, metavar=("SIZE", "PIXELS", "WEIGHTS"), help=argparse.SUPPRESS)
    ask.add_argument("--weights", nargs=2, metavar=("SIZE", "OUT"), help=argparse.SUPPRESS)
    given = ask.parse_args()
    if given.weights:
        return write_weights(*given.weights)
    if given.original:
        size, pixels, weights = given.original
        return print(json.dumps(original(size, int(pixels), weights)))

    folder = cache_folder()
    python = given.python or interpreter(folder)
    env = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "RAYON_NUM_THREADS": str(given.threads),
           "OMP_WAIT_POLICY": "PASSIVE", "TQDM_DISABLE": "1", "SONOMARK_PEER_DEVICE": given.device}
    clock = "cpu_s" if given.device == "cpu" else "wall_s"
    table = {}
    for name in given.only.split(","):
        size, pixels = split(name)
        weights = folder / f"{size}.safetensors"
        if not weights.exists():
            part = folder / f"{size}.part"
            subprocess.run([python, str(HERE), "--weights", size, str(part)], check=True, env=env)
            part.rename(weights)
        card = card_with(weights, size, pixels, folder, given.cards)
        ours, theirs = [], []
        for _ in range(given.rounds):
            numbers = folder / "ours.json"
            subprocess.run([given.sonomark, "--device", given.device, "--card", str(card), "bench", "stages", "--json",
                            str(numbers)], check=True, env=env, stdout=subprocess.DEVNULL)
            ours.append(json.loads(numbers.read_text()))
            done = subprocess.run([python, str(HERE), "--original", size, str(pixels), str(weights)], check=True,
                                  env=env, stdout=subprocess.PIPE)
            theirs.append(json.loads(done.stdout.splitlines()[-1]))
        table[name] = {}
        for stage in STAGES:
            middle = lambda side, what: statistics.median(run[stage][what] for run in side)
            told, wall = ([middle(side, what) for side in (ours, theirs)] for what in (clock, "wall_s"))
            table[name][stage] = {"ours_s": told[0], "theirs_s": told[1], "ratio": told[0] / told[1],
                                  "ours_wall_s": wall[0], "theirs_wall_s": wall[1]}
            print(f"{name:<16} {stage:<18} ours {told[0]:8.4f} s  theirs {told[1]:8.4f} s  ratio "
                  f"{told[0] / told[1]:.2f}   wall {wall[0]:.4f} / {wall[1]:.4f} s", flush=True)
        halves = [run["encoder_f16"] for run in ours if "encoder_f16" in run]
        if halves:
            table[name]["encoder_f16"] = halves[-1]
            print(f"{name:<16} encoder in f16: {halves[-1]}", flush=True)
        table[name]["second_track_share"] = statistics.median(run["second_track_share"] for run in ours)
        print(f"{name:<16} a second track costs {table[name]['second_track_share']:.2f} of the first", flush=True)
        if given.json:
            given.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
