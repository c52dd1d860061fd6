"""What a training step should cost on H100s, counted from the program's launches. Nothing is measured.

  python3 validation/gpu_account [--json FILE] [B L XL]

Prints, for each configuration, every kernel of a step with its FLOPs, bytes and floor, the expected step under three
sets of assumptions, and what further fusing would give. gpu.md holds this output and the reasoning.
"""
import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "validation"))
from gpu_account import attention, report
from gpu_account.model import read_model
from gpu_account.step import Setting, Step

GPUS = {"B": 8, "L": 8, "XL": 16}


def make_step(name, options):
    model = read_model(ROOT / "configs" / f"{name}.cfg", name)
    samples = attention.fill(model.slots, options.sequence, options.prefix)
    return Step(model, Setting(samples, GPUS[name], distinct=round(options.distinct * model.slots),
                               splits=round(options.distinct * model.slots / 20)))


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="gpu_account", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="B, L, XL (all)")
    parser.add_argument("--sequence", type=int, default=512, help="slots of a sample (512)")
    parser.add_argument("--prefix", type=int, default=256, help="of them, instruction (256)")
    parser.add_argument("--distinct", type=float, default=0.25, help="different tokens per slot (0.25)")
    parser.add_argument("--json", type=pathlib.Path, help="write everything to this file")
    options = parser.parse_args(arguments)
    options.names = options.names or list(GPUS)
    unknown = [name for name in options.names if name not in GPUS]
    if unknown:
        parser.error(f"no configuration {unknown[0]}; there are {', '.join(GPUS)}")
    if not 1 <= options.prefix < options.sequence:
        parser.error("--prefix must be at least 1 and below --sequence")
    return options


def main():
    options = parse()
    steps = [make_step(name, options) for name in options.names]
    print("\n\n".join([report.assumptions()] + [report.section(step) for step in steps]))
    if options.json:
        options.json.write_text(json.dumps({step.model.name: report.as_json(step) for step in steps}, indent=1) + "\n")


if __name__ == "__main__":
    main()
