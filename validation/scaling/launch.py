"""Starts the runs of a study: one after the other here, or one SLURM job per rank count."""
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time

from scaling import study as studies

# Open MPI binds a rank to one core by default, whatever its threads.
LAUNCHERS = {"mpirun": "mpirun --bind-to none -n {ranks}",
             "srun": "srun --mpi=pmix --kill-on-bad-exit=1 --nodes={nodes} --ntasks={ranks} "
                     "--ntasks-per-node={ranks_per_node} --cpus-per-task={threads}"}
BATCH_SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "slurm" / "scaling_study.sbatch"


def shape(study, ranks):
    """(nodes, ranks of a node)"""
    per_node = min(ranks, study["ranks_per_node"] or ranks)
    return -(-ranks // per_node), per_node


def launcher_words(launcher, study, ranks):
    nodes, per_node = shape(study, ranks)
    words = shlex.split(LAUNCHERS.get(launcher, launcher))
    return [word.format(ranks=ranks, nodes=nodes, ranks_per_node=per_node, threads=max(1, study["threads"]))
            for word in words]


def finished(folder, run):
    """By the run's own verdict: launchers do not pass every exit code on."""
    try:
        status = json.loads((folder / "status.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return status.get("state") == ("stopped" if run.is_check else "finished")


def run_one(study, study_folder, run, launcher, keep_checkpoints):
    """True if it ends as it should. What an earlier, unfinished try left is removed first."""
    folder = studies.run_folder(study_folder, run)
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.with_suffix(".log")
    command = [*launcher_words(launcher, study, run.ranks), *studies.train_command(study, run, folder)]
    start = time.monotonic()
    with log.open("w", encoding="utf-8") as out:
        print(shlex.join(command), file=out, flush=True)
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL).returncode
    good = finished(folder, run)
    print(f"{run.name:<18} {run.packs:6d} packs  {time.monotonic() - start:8.1f} s  "
          f"{'done' if good else f'FAILED (exit code {code}), see {log}'}", flush=True)
    if good and not keep_checkpoints:
        for file in (*folder.glob("step-*.h5"), folder / "latest.h5"):
            file.unlink(missing_ok=True)
    return good


def run_study(folder, ranks=None, launcher="mpirun", keep_checkpoints=False):
    """Runs what has not finished, of `ranks` only if given. Exit code: 1 if a run failed."""
    folder = folder.resolve()
    study = studies.read(folder)
    unknown = set(ranks or ()) - set(study["ranks"])
    if unknown:
        raise studies.StudyError(f"the study has no runs of {sorted(unknown)} ranks, only of {study['ranks']}")
    failed = 0
    for run in studies.runs(study):
        if ranks and run.ranks not in ranks:
            continue
        if finished(studies.run_folder(folder, run), run):
            print(f"{run.name:<18} is there")
            continue
        failed += not run_one(study, folder, run, launcher, keep_checkpoints)
    if failed:
        print(f"scaling: {failed} runs failed", file=sys.stderr)
    return 1 if failed else 0


def submit(folder, sbatch_options, dry_run=False):
    folder = folder.resolve()
    study = studies.read(folder)
    for ranks in study["ranks"]:
        nodes, per_node = shape(study, ranks)
        command = ["sbatch", f"--nodes={nodes}", f"--ntasks={ranks}", f"--ntasks-per-node={per_node}",
                   f"--cpus-per-task={max(1, study['threads'])}", f"--job-name=scaling-{ranks}", *sbatch_options,
                   str(BATCH_SCRIPT), str(folder)]
        print(shlex.join(command), flush=True)
        if dry_run:
            continue
        environment = {**os.environ, "HRM_SCALING": str(BATCH_SCRIPT.parents[1] / "validation" / "scaling")}
        try:
            code = subprocess.run(command, env=environment).returncode
        except OSError as error:
            raise studies.StudyError(f"sbatch cannot be started ({error.strerror}); use: scaling run") from error
        if code:
            raise studies.StudyError(f"sbatch refused the job of {ranks} ranks")
    return 0
