"""Kills a training run at random instants and compares what it ends with to a run that nobody disturbed.

  python3 validation/chaos FOLDER --data SHARDS [--kills 200] [--seed 1] [--steps 300]

Each start goes on where the killed one ended (--resume auto), on another number of ranks and threads, with replicated
or sharded state, saving in the background or at once, a checkpoint in every step. Killed with SIGKILL is one rank, all
ranks, or the launcher too: while the run starts, while it saves, while it commits a save, or in between. After every
kill the newest checkpoint and latest.h5 must verify and at most one temporary lie there. When the kills are used up the
run is left alone; its last checkpoint must be that of the undisturbed run (hrm inspect --diff) and so must loss,
accuracies, gradient norm and learning rate of every step. Ends with 0 if all that holds, else with 1.

The kills of a seed are the same, their effects are not: they fall into a running program.
"""
import argparse
import collections
import pathlib
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from chaos import journal
from chaos.run import INSTANTS, ChaosError, Layout, Start, checkpoints, temporaries

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Small steps, and every kind of event of a long run among them.
SMALL = ["train.packs=4", "train.pack_tokens=256", "model.hidden_size=32", "model.num_heads=2",
         "checkpoint.interval_steps=1", "train.precision=fp32"]


def parse(arguments):
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="made anew; holds both runs and their logs")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder of shards")
    parser.add_argument("--hrm", default=ROOT / "build" / "hrm", help="the program (default build/hrm)")
    parser.add_argument("--mpiexec", default="mpirun", help="the launcher (mpirun)")
    parser.add_argument("--config", default=ROOT / "configs" / "tiny.cfg")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args(arguments)
    options.settings = [*SMALL, f"data.path={options.data}", f"train.max_steps={options.steps}"]
    return options


def inspect(plan, *arguments):
    done = subprocess.run([str(plan.hrm), "inspect", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        raise ChaosError(f"hrm inspect {' '.join(map(str, arguments))} ends with {done.returncode}:\n"
                         f"{done.stdout}{done.stderr}")


def check_folder(plan, folder):
    """What a crash at any instant leaves."""
    if len(temporaries(folder)) > 1:
        raise ChaosError(f"more than one temporary: {temporaries(folder)}")
    if checkpoints(folder):
        inspect(plan, "--verify", folder / checkpoints(folder)[-1])
    if (folder / "latest.h5").is_symlink():
        inspect(plan, "--verify", folder / "latest.h5")


def step_of(folder):
    names = checkpoints(folder)
    return int(names[-1][5:13]) if names else 0


def choose_instant(rng, left, plan, done):
    """Mostly after a step or two; while starting, which adds no step, when steps are getting short."""
    enough = (plan.steps - 2 - done) / max(left, 1)
    return rng.choices(list(INSTANTS), [1 if enough > 1 else 100, 3, 3, 2])[0]


def disturb(plan, folder):
    """Starts and kills until the kills are used up; returns how many of each kind there were."""
    rng = random.Random(plan.seed)
    counts = collections.Counter()
    kills = starts = 0
    while kills < plan.kills:
        starts += 1
        layout = Layout.random(rng)
        instant = choose_instant(rng, plan.kills - kills, plan, step_of(folder))
        victim = rng.choice(["one", "all", "all", "job"])
        start = Start(plan, folder, layout, ["--resume", "auto"])
        killed = 0
        while killed == 0 and INSTANTS[instant](start, folder, rng):
            killed = start.kill(victim, rng)
        if killed == 0:
            code = start.wait()
            if code == 0:
                raise ChaosError(f"the run was through after {kills} kills; give more --steps")
            raise ChaosError(f"start {starts} ({layout}) ended by itself with {code}: see {start.log.name}")
        kills += 1
        counts[f"while {instant}, {victim}"] += 1
        check_folder(plan, folder)
        print(f"kill {kills:4}: while {instant}, {victim}; {layout}; step {step_of(folder)}", flush=True)
    return counts, starts


def finish(plan, folder, arguments, layout):
    code = Start(plan, folder, layout, arguments).wait(seconds=3600)
    if code != 0:
        raise ChaosError(f"{folder}: the undisturbed end of the run has exit code {code}")


def compare(plan, straight, disturbed):
    last = f"step-{plan.steps:08}.h5"
    inspect(plan, "--diff", straight / last, disturbed / last)
    expected, found = journal.curve(straight), journal.curve(disturbed)
    if len(expected) != plan.steps or expected != found:
        different = [a for a, b in zip(expected, found) if a != b]
        raise ChaosError(f"{len(found)} rows instead of {len(expected)}, {len(different)} of them different: "
                         f"first {different[:1]}")


def main(arguments):
    plan = parse(arguments)
    shutil.rmtree(plan.folder, ignore_errors=True)
    plan.folder.mkdir(parents=True)
    straight, disturbed = plan.folder / "straight", plan.folder / "disturbed"
    begin = time.monotonic()
    try:
        finish(plan, straight, [], Layout())
        counts, starts = disturb(plan, disturbed)
        finish(plan, disturbed, ["--resume", "auto"], Layout(2, 1))
        compare(plan, straight, disturbed)
    except ChaosError as error:
        print(f"chaos: error: {error}", file=sys.stderr)
        return 1
    for kind, count in sorted(counts.items()):
        print(f"{count:5} {kind}")
    print(f"seed {plan.seed}: {sum(counts.values())} kills in {starts} starts, {plan.steps} steps, "
          f"{len(journal.events(disturbed, 'checkpoint'))} checkpoints, {time.monotonic() - begin:.0f} s: "
          "same weights, same rows")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
