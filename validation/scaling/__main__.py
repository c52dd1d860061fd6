"""Measures how training speeds up with the number of ranks.

  python3 validation/scaling plan STUDY --config configs/XL.cfg --data shards --ranks 8,16,32
  python3 validation/scaling run STUDY                      here, count after count (mpirun), or inside an allocation
  python3 validation/scaling submit STUDY -- --time=1:00:00 or one SLURM job per count, by slurm/scaling_study.sbatch
  python3 validation/scaling gather STUDY                   table.csv, table.h5, table.svg; a line per configuration

Strong: the same global batch at every count. Weak: as many packs per rank at every count. Losses of the strong sweep
must be the same bits as at the smallest count. A weak batch differs from count to count, so the smallest count trains
each of them too, for a few steps (--check-steps), and those losses must be the same bits. Without that a row says so
and shows no speed. `run` goes on where it ended: runs that finished are kept. gather needs h5py and numpy and ends
with 1 when a configuration fails.
"""
import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from scaling import launch, study


def counts(text):
    values = sorted({int(word) for word in text.split(",")})
    if not values or values[0] < 1:
        raise argparse.ArgumentTypeError(f"{text}: give counts such as 1,2,4")
    return values


def modes(text):
    values = text.split(",")
    if not set(values) <= set(study.MODES):
        raise argparse.ArgumentTypeError(f"{text}: give some of {','.join(study.MODES)}")
    return [mode for mode in study.MODES if mode in values]


def add_plan(commands):
    plan = commands.add_parser("plan", help="write STUDY/study.json")
    plan.add_argument("study", type=pathlib.Path, help="folder of the study")
    plan.add_argument("--hrm", default="build/hrm", help="the program (default build/hrm)")
    plan.add_argument("--config", action="append", required=True, help="configuration file; repeatable")
    plan.add_argument("--data", required=True, help="folder of shards")
    plan.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one more setting; repeatable")
    plan.add_argument("--ranks", type=counts, required=True, help="rank counts, such as 1,2,4")
    plan.add_argument("--modes", type=modes, default=list(study.MODES), help="weak, strong or both (default)")
    plan.add_argument("--packs", type=int, default=0, help="packs of a strong batch and of the smallest weak one "
                                                          "(default: train.packs)")
    plan.add_argument("--steps", type=int, default=25, help="steps of a run (25)")
    plan.add_argument("--warmup", type=int, default=5, help="first steps that are not timed (5)")
    plan.add_argument("--check-steps", type=int, default=3, help="steps of a check of a weak batch (3)")
    plan.add_argument("--repeats", type=int, default=2, help="runs of each configuration (2)")
    plan.add_argument("--tensor", type=int, default=1, help="tensor-parallel size (1)")
    plan.add_argument("--threads", type=int, default=1, help="threads of a rank (1)")
    plan.add_argument("--ranks-per-node", type=int, default=0, help="0: all on one node")


def parse(arguments):
    parser = argparse.ArgumentParser(prog="scaling", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    add_plan(commands)
    run = commands.add_parser("run", help="run what has not finished")
    run.add_argument("study", type=pathlib.Path)
    run.add_argument("--ranks", type=counts, help="these counts only")
    run.add_argument("--launcher", default="mpirun", help="mpirun (default), srun, or a command with {ranks}, {nodes}, "
                                                          "{ranks_per_node}, {threads}")
    run.add_argument("--keep-checkpoints", action="store_true", help="leave the last save of each run")
    submit = commands.add_parser("submit", help="one job per count; options of sbatch follow after --")
    submit.add_argument("study", type=pathlib.Path)
    submit.add_argument("--dry-run", action="store_true", help="print the sbatch commands only")
    gather = commands.add_parser("gather", help="one table of all runs")
    gather.add_argument("study", type=pathlib.Path)
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    options.sbatch = arguments[end + 1:]
    if options.sbatch and options.command != "submit":
        parser.error("only submit takes options after --")
    return options


def main(arguments):
    options = parse(arguments)
    try:
        if options.command == "plan":
            return study.plan(options)
        if options.command == "run":
            return launch.run_study(options.study, options.ranks, options.launcher, options.keep_checkpoints)
        if options.command == "submit":
            return launch.submit(options.study, options.sbatch, options.dry_run)
        try:
            from scaling import gather  # needs h5py, which machines that only run need not have
        except ImportError as error:
            raise study.StudyError(f"gather needs h5py and numpy ({error}); Debian's belong to /usr/bin/python3") from error
        return gather.gather(options.study)
    except study.StudyError as error:
        print(f"scaling: error: {error}", file=sys.stderr)
        return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
