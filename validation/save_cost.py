#!/usr/bin/env python3
"""What saving costs: step times of a run without saves, with saves in the background and with saves at once.

  python3 validation/save_cost.py FOLDER --data SHARDS [--steps 100] [--repeats 3] [--pairs 5]

The model has 74 M parameters, its checkpoint 1.18 GB; a save every 10 steps, each committed and synced before the next
one counts. With 64 tokens and a short horizon, the same in all steps, a step is so short that a save at once takes more
than two of them: a save that takes less would show nothing. So short a step cannot hide all of the writing before its
weights change; a rank may copy what is left (checkpoint.staging_bytes; with the default of 256 MiB the update would
wait for the disk instead). Step times are taken from outside, by the clock at which each step's row appears in the
journal, so that they hold everything the run stood still for. The three kinds of run alternate; ratios are those of one
round, and the median over the rounds is reported. Then the write rate: a save at once against `dd` to fresh files of
the same size on the same disk, through the page cache and past it (oflag=direct), in turn. Needs a machine that does
nothing else, 4 GB of memory a rank and 8 GB of disk. Ends with 1 where a save is missing or a save at once takes less
than two steps (then --set more parameters).
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODEL = ["model.hidden_size=768", "model.num_heads=12", "model.layers=8", "model.intermediate_multiple=64",
         "model.max_seq_len=64", "train.pack_tokens=64", "train.packs=1", "train.precision=fp32", "train.log_interval=1",
         "model.bp_min_steps=3", "model.bp_max_steps=3", "model.bp_warmup_ratio=0",
         "checkpoint.staging_bytes=1300000000"]
INTERVAL = 10
KINDS = {"none": ["checkpoint.interval_steps=0"],
         "background": [f"checkpoint.interval_steps={INTERVAL}"],
         "at once": [f"checkpoint.interval_steps={INTERVAL}", "checkpoint.async=false"]}
WAYS = ["save", "dd", "direct dd"]
WARM_UP = 5  # first steps that do not count


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="made anew, on the disk that is measured")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder of shards")
    parser.add_argument("--hrm", default=ROOT / "build" / "hrm")
    parser.add_argument("--launcher", default="", help="such as 'mpirun -n 2' (default: the program alone)")
    parser.add_argument("--steps", type=int, default=100, help="steps that count (100)")
    parser.add_argument("--repeats", type=int, default=3, help="rounds of the three kinds (3)")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of dd and save (5)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one more setting; repeatable")
    parser.add_argument("--json", type=pathlib.Path, help="also write all numbers to this file")
    return parser.parse_args()


def rows(folder):
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def train(options, folder, settings, arguments=()):
    """Runs to the end; times at which the rows of steps appeared."""
    shutil.rmtree(folder, ignore_errors=True)
    words = [word for value in (*MODEL, f"data.path={options.data}", f"checkpoint.dir={folder}", *settings, *options.set)
             for word in ("--set", value)]
    command = [*options.launcher.split(), str(options.hrm), "train", "--config", str(ROOT / "configs" / "tiny.cfg"),
               "--allow-single", *words, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    journal, seen, torn, times = None, folder / "metrics.jsonl", b"", []
    while process.poll() is None:
        if journal is None and seen.exists():
            journal = seen.open("rb")
        new = journal.read() if journal else b""
        now = time.monotonic()
        *lines, torn = (torn + new).split(b"\n")
        times += [now for line in lines if b'"record":"train"' in line]
        time.sleep(0.001)
    if process.returncode not in (0, 75):
        sys.exit(f"save_cost: {' '.join(command)}\nends with {process.returncode}: {process.stderr.read()}")
    return times


def saves(folder):
    """(step, seconds that the run stood still) of each checkpoint."""
    return [(row["step"], float(re.search(r"([0-9.]+) s", row["text"]).group(1)))
            for row in rows(folder) if row["record"] == "event" and row["kind"] == "checkpoint"]


def step_times(options, kind):
    """Seconds of the steps that count; the run ends without a save on the way that would be missing."""
    folder = options.folder / "run"
    last = WARM_UP + options.steps + 1
    times = train(options, folder, [*KINDS[kind], f"train.max_steps={last}"])
    due = [step for step in range(INTERVAL, last, INTERVAL)] if kind != "none" else []
    missing = set(due) - {step for step, _ in saves(folder)}
    if missing or len(times) != last:
        sys.exit(f"save_cost: {kind}: {len(times)} of {last} steps seen, saves missing at {sorted(missing)}")
    return [b - a for a, b in zip(times[WARM_UP:], times[WARM_UP + 1:])]


def percentile(values, percent):
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    low = int(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def dd_rate(options, size, *flags):
    """Bytes a second."""
    target = options.folder / "dd"
    target.unlink(missing_ok=True)
    begin = time.monotonic()
    subprocess.run(["dd", "if=/dev/zero", f"of={target}", "bs=4M", f"count={size >> 22}", "conv=fsync", "status=none",
                    *flags], check=True)
    seconds = time.monotonic() - begin
    target.unlink()
    return (size >> 22 << 22) / seconds


def write_rates(options):
    """Bytes a second of each way, in turn, as often as there are pairs; the size is that of the checkpoint."""
    folder, rates, size = options.folder / "run", [], 0
    for _ in range(options.pairs):
        train(options, folder, [*KINDS["at once"], "train.max_steps=100"], ["--stop-after", "2"])
        size = (folder / "latest.h5").resolve().stat().st_size
        save = size / saves(folder)[-1][1]
        shutil.rmtree(folder)
        rates.append({"save": save, "dd": dd_rate(options, size), "direct dd": dd_rate(options, size, "oflag=direct")})
    return rates, size


def main():
    options = parse()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    shutil.rmtree(options.folder, ignore_errors=True)
    options.folder.mkdir(parents=True)
    begin = time.monotonic()
    rounds = [{kind: step_times(options, kind) for kind in KINDS} for _ in range(options.repeats)]
    result = {"mean": {}, "p99": {}}
    for kind in KINDS:
        means = [statistics.mean(one[kind]) for one in rounds]
        result["mean"][kind] = statistics.median(a / statistics.mean(one["none"]) for a, one in zip(means, rounds))
        result["p99"][kind] = statistics.median(percentile(one[kind], 99) / percentile(one["none"], 99) for one in rounds)
        print(f"{kind:<11} mean {1e3 * statistics.median(means):8.1f} ms, {result['mean'][kind]:.3f} of none; "
              f"p99 {1e3 * statistics.median(percentile(one[kind], 99) for one in rounds):8.1f} ms, "
              f"{result['p99'][kind]:.3f} of none", flush=True)
    step = statistics.median(statistics.mean(one["none"]) for one in rounds)
    stall = statistics.median((statistics.mean(one["at once"]) - statistics.mean(one["none"])) * INTERVAL for one in rounds)
    print(f"a save at once takes {stall:.2f} s, {stall / step:.1f} steps")
    if options.pairs:
        result["rates"], size = write_rates(options)
        print(f"{size / 1e6:.0f} MB at once: " + ", ".join(
            f"{way} {statistics.median(rates[way] for rates in result['rates']) / 1e6:.0f} MB/s" for way in WAYS))
        for way in WAYS[1:]:
            ratio = statistics.median(rates["save"] / rates[way] for rates in result["rates"])
            print(f"the save's rate is {ratio:.2f} of that of {way} (median of {options.pairs})")
    print(f"{options.repeats} rounds of {options.steps} steps in {time.monotonic() - begin:.0f} s")
    if options.json:
        options.json.write_text(json.dumps({**result, "rounds": rounds}), encoding="utf-8")
    shutil.rmtree(options.folder)
    if stall < 2 * step:
        print("save_cost: a save at once takes less than two steps: give the model more parameters or fewer tokens",
              file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
