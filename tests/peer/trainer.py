#!/usr/bin/env python3
"""Our training loop beside a PyTorch trainer of the same network: images a second, same side, batch and threads, in turns.

    tests/peer/trainer.py --trainer FOLDER --sonomark target/release/sonomark [--json OUT] [--rounds 3] [--steps 40]

FOLDER holds `train_geo.py` (the reference's classes, see its head) and the `cache.pkl` that it learns from; --python names an
interpreter with its packages. Each round runs `sonomark bench train`, then the trainer for as many steps; a side's figure is
the median of its rounds. Both draw and vary images, simulate clicks, decode three times and step the optimiser. The ratio is of
processor seconds an image, which another program's load disturbs least; the trainer's are those of a run less those of a run
of two steps. Its wall clock is the sum of its own timings (images, encoder, clicks, decoder, backward pass with optimiser).
"""
import argparse
import ast
import json
import os
import pathlib
import re
import resource
import statistics
import subprocess
import sys
import tempfile


def ours(given, scratch, env):
    numbers = scratch / "ours.json"
    command = [given.sonomark, "--device", "cpu", "bench", "train", "--steps", given.steps, "--side", given.side, "--batch",
               given.batch, "--threads", given.threads, "--json", numbers]
    subprocess.run([str(word) for word in command], check=True, env=env, stdout=subprocess.DEVNULL)
    found = json.loads(numbers.read_text())
    return found["cpu_s_per_image"], found["images_per_s"]


def run_of(steps, given, scratch, env):
    """Processor seconds of a run of the trainer, and images a second by its own timings."""
    # The network of models/samusa-nano.yaml; --p128 0 begins at 256 px, a high one stays at 128 px.
    at = ["--p128", "0", "--bs2"] if given.side == 256 else ["--p128", "2", "--bs"]
    command = [given.python, "train_geo.py", "--out", scratch / "net.pt", "--E", 24, "--stages", "1,1,4,2", "--dense", 1, "--tie",
               3, "--minutes", 60, "--threads", given.threads, "--time", steps, *at, given.batch]
    used = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before = used()
    done = subprocess.run([str(word) for word in command], check=True, env=env, stdout=subprocess.PIPE, text=True,
                          cwd=given.trainer)
    lines = [line for line in done.stdout.splitlines() if line.startswith("it ")]
    parts = ast.literal_eval(re.search(r"\{[^}]*\}", lines[-1]).group())
    return used() - before, 1 / sum(parts.values())


def theirs(given, scratch, env):
    short, _ = run_of(2, given, scratch, env)
    long, wall = run_of(2 + given.steps, given, scratch, env)
    return (long - short) / (given.steps * given.batch), wall


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--trainer", type=pathlib.Path, required=True, help="folder of train_geo.py and cache.pkl")
    ask.add_argument("--sonomark", type=pathlib.Path, default=pathlib.Path("target/release/sonomark"))
    ask.add_argument("--python", default=sys.executable, help="an interpreter with the trainer's packages")
    ask.add_argument("--json", type=pathlib.Path, help="write the numbers here too")
    ask.add_argument("--rounds", type=int, default=3)
    ask.add_argument("--steps", type=int, default=40)
    ask.add_argument("--side", type=int, default=256, choices=[128, 256])
    ask.add_argument("--batch", type=int, default=4)
    ask.add_argument("--threads", type=int, default=2)
    given = ask.parse_args()
    given.sonomark = given.sonomark.resolve()
    env = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "RAYON_NUM_THREADS": str(given.threads),
           "OMP_WAIT_POLICY": "PASSIVE"}
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        for round_number in range(given.rounds):
            rows.append((ours(given, scratch, env), theirs(given, scratch, env)))
            (own, own_wall), (other, other_wall) = rows[-1]
            print(f"round {round_number + 1}: ours {own:.3f}, theirs {other:.3f} processor s an image"
                  f"   wall {own_wall:.2f} / {other_wall:.2f} images/s", flush=True)
    middle = lambda side, what: statistics.median(row[side][what] for row in rows)
    table = {"side_px": given.side, "batch": given.batch, "threads": given.threads, "steps": given.steps,
             "ours_cpu_s_per_image": middle(0, 0), "theirs_cpu_s_per_image": middle(1, 0),
             "ours_images_per_s": middle(0, 1), "theirs_images_per_s": middle(1, 1)}
    table["ratio"] = table["theirs_cpu_s_per_image"] / table["ours_cpu_s_per_image"]
    print(f"{given.side} px, batch {given.batch}: ours {table['ours_cpu_s_per_image']:.3f}, theirs "
          f"{table['theirs_cpu_s_per_image']:.3f} processor s an image, speed ratio {table['ratio']:.2f}")
    if given.json:
        given.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
