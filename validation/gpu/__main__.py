"""Builds, checks and measures on a machine with CUDA GPUs; called by validation/gpu.sh.

Steps: registers, build, golden, kernels, parallel, restart, generation, runs, sanitizer, gemm, copies, bench, profile.
A step that fails does not stop the others. Everything goes to --out: results.json, table.txt, logs/. Exit code 0 only if
nothing failed; what cannot be made here (a tool or a second GPU is missing) is SKIPPED with its reason.

--hrm PATH takes a program that is built already, such as one over the SIMT shim (then --gpus says how many to pretend).
"""
import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import shlex
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "validation"))
from gpu import correctness, machine, speed, training
from gpu.runner import FAIL, Runner, table

STEPS = {"registers": correctness.registers, "build": correctness.build, "golden": correctness.golden,
         "kernels": correctness.kernels, "parallel": training.parallel, "restart": training.restart,
         "generation": training.generation, "runs": training.runs, "sanitizer": correctness.sanitizer, "gemm": speed.gemm, "copies": speed.copies, "bench": speed.bench,
         "profile": speed.profile}


def steps_of(text):
    names = text.split(",")
    unknown = [name for name in names if name not in STEPS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]}: give some of {', '.join(STEPS)}")
    return [name for name in STEPS if name in names]


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="gpu.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=steps_of, default=list(STEPS), metavar="STEP,…", help="these steps only")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build-cuda" / "gpu-results", help="folder of results")
    parser.add_argument("--hrm", type=pathlib.Path, help="the program; default: build-cuda/hrm, which is built")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build-cuda", help="its build folder")
    parser.add_argument("--cmake", action="append", default=[], metavar="OPTION", help="of cmake; repeatable")
    parser.add_argument("--data", default=os.environ.get("HRM_TEST_DATA", ""), help="folder with golden/ (HRM_TEST_DATA)")
    parser.add_argument("--gpus", type=int, default=0, help="so many (default: all that nvidia-smi shows)")
    parser.add_argument("--launcher", type=shlex.split, default=["mpirun"], help="starts several ranks (mpirun)")
    parser.add_argument("--kernel-tests", type=pathlib.Path, help="their program; default: bin/test_kernels_gpu of --build")
    parser.add_argument("--configs", type=lambda text: text.split(","),
                        default=[str(ROOT / "configs" / f"{name}.cfg") for name in ("B", "L", "XL")],
                        help="configurations to measure, the largest last (B, L, XL)")
    parser.add_argument("--bench-set", action="append", default=[], metavar="KEY=VALUE", help="setting of them; repeatable")
    parser.add_argument("--train-set", action="append", default=[], metavar="KEY=VALUE",
                        help="setting of the small runs; repeatable")
    parser.add_argument("--rows", type=int, default=12288, help="rows of the products measured alone")
    parser.add_argument("--sequence", type=int, default=512, help="slots of a sample of measured steps")
    parser.add_argument("--prefix", type=int, default=256, help="of them, instruction")
    parser.add_argument("--seconds", type=float, default=10, help="of each measured step")
    parser.add_argument("--patience", type=float, default=1, help="factor on every limit of time")
    return parser.parse_args(arguments)


def complete(options, gpus):
    """What depends on the machine."""
    options.given_hrm = options.hrm is not None
    options.hrm = (options.hrm or options.build / "hrm").resolve()
    options.kernel_tests = options.kernel_tests or options.build / "bin" / "test_kernels_gpu"
    options.out = options.out.resolve()
    options.gpus_found = gpus.count
    options.gpus = options.gpus or max(gpus.count, 1)
    options.peak, options.memory = gpus.peak, gpus.memory
    options.train_set = dict(setting.split("=", 1) for setting in options.train_set)
    options.bench_settings = [word for setting in options.bench_set for word in ("--set", setting)]
    return options


def write_results(options, gpus, runner):
    results = {"format": "hrm-gpu-validation", "format_version": 1,
               "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
               "host": platform.node(), "gpus": list(gpus.facts), "peak_flops_per_second": gpus.peak,
               "results": [dataclasses.asdict(result) for result in runner.results]}
    (options.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (options.out / "table.txt").write_text(table(runner.results) + "\n", encoding="utf-8")


def main(arguments=None):
    gpus = machine.find()
    options = complete(parse(arguments), gpus)
    if gpus.count == 0 and not options.given_hrm:
        sys.exit("gpu.sh: error: nvidia-smi shows no GPU; take a GPU node, or give a program with --hrm PATH")
    options.out.mkdir(parents=True, exist_ok=True)
    training.remove_runs(options.out)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the running command ends too
    runner = Runner(options.out)
    for name in options.only:
        STEPS[name](runner, options)
        write_results(options, gpus, runner)
    print(f"\n{table(runner.results)}\n{options.out / 'results.json'}")
    return 1 if any(result.verdict == FAIL for result in runner.results) else 0


if __name__ == "__main__":
    sys.exit(main())
