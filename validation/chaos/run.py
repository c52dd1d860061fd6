"""One start of the run under test, and the hand that kills it."""
import os
import pathlib
import signal
import subprocess
import time

POLL_SECONDS = 0.001
PATIENCE_SECONDS = 180

MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1", "OMP_WAIT_POLICY": "passive"}


class ChaosError(Exception):
    """Something does not hold, or the test itself cannot go on."""


class Layout:
    """What may differ from start to start without changing a bit."""

    def __init__(self, ranks=1, threads=1, zero=1, background=True, staging=1 << 28):
        self.ranks, self.threads, self.zero, self.background, self.staging = ranks, threads, zero, background, staging

    @classmethod
    def random(cls, rng):
        return cls(rng.choice([1, 2, 2, 3, 4]), rng.choice([1, 1, 2]), rng.choice([0, 1, 1]),
                   rng.random() < 0.8, rng.choice([1 << 20, 1 << 28]))

    def settings(self):
        return [f"device.threads={self.threads}", f"parallel.zero={self.zero}",
                f"checkpoint.async={str(self.background).lower()}", f"checkpoint.staging_bytes={self.staging}"]

    def __str__(self):
        return (f"{self.ranks} ranks x {self.threads} threads, zero {self.zero}, "
                f"{'background' if self.background else 'at once'}, staging {self.staging >> 20} MiB")


class Start:
    """The program, running under mpirun. Its output goes to FOLDER.log."""

    def __init__(self, plan, folder, layout, arguments=()):
        words = [word for value in (*plan.settings, f"checkpoint.dir={folder}", *layout.settings())
                 for word in ("--set", value)]
        command = [plan.mpiexec, "-n", str(layout.ranks), plan.hrm, "train", "--config", plan.config, *words,
                   "--allow-single", *arguments]
        self.log = open(folder.with_suffix(".log"), "a", encoding="utf-8")  # closed by wait()
        self.process = subprocess.Popen(list(map(str, command)), stdout=self.log, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, env={**os.environ, **MPI_ENVIRONMENT})

    def ranks(self):
        """Whichever thread of the launcher started them."""
        pids = []
        for children in pathlib.Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            try:
                pids += map(int, children.read_text(encoding="utf-8").split())
            except (FileNotFoundError, ProcessLookupError):
                pass
        return pids

    def running(self):
        return self.process.poll() is None

    def kill(self, victim, rng):
        """`one` rank, `all` ranks, or the `job`: the launcher too, which then cannot clean up. How many were killed; 0
        where none are there yet or any more."""
        pids = self.ranks()
        rng.shuffle(pids)
        targets = {"one": pids[:1], "all": pids, "job": [self.process.pid, *pids]}[victim] if pids else []
        for pid in targets:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if targets:
            self.wait()
            end = time.monotonic() + PATIENCE_SECONDS
            while any(is_alive(pid) for pid in pids):
                if time.monotonic() > end:
                    raise ChaosError(f"ranks {pids} live on without their launcher")
                time.sleep(0.01)
        return len(targets)

    def wait(self, seconds=PATIENCE_SECONDS):
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            self.process.kill()
            raise ChaosError("the job does not end") from late
        finally:
            self.log.close()


def is_alive(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def checkpoints(folder):
    return sorted(path.name for path in folder.glob("step-*.h5"))


def temporaries(folder):
    return list(folder.glob(".step-*.tmp"))


def wait_for(start, happened):
    """Until `happened()`, as long as the program runs; True unless it ended first."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not happened():
        if not start.running():
            return False
        if time.monotonic() > end:
            raise ChaosError("no progress: see the log")
        time.sleep(POLL_SECONDS)
    return start.running()


# When to kill. Each waits for its instant and returns whether the program still runs then.
def while_starting(start, folder, rng):
    delay = time.monotonic() + rng.random() * 1.5
    return wait_for(start, lambda: time.monotonic() > delay)


def while_saving(start, folder, rng):
    """A temporary has just appeared: data, digest and commit follow within milliseconds."""
    before = checkpoints(folder)
    if not wait_for(start, lambda: checkpoints(folder) > before and temporaries(folder)):
        return False
    time.sleep(rng.random() ** 2 * 0.03)
    return start.running()


def while_committing(start, folder, rng):
    """A checkpoint has just got its final name: latest.h5, the journal and old files follow."""
    before = checkpoints(folder)
    if not wait_for(start, lambda: checkpoints(folder) > before):
        return False
    time.sleep(rng.random() ** 2 * 0.01)
    return start.running()


def while_training(start, folder, rng):
    before = checkpoints(folder)
    if not wait_for(start, lambda: checkpoints(folder) > before):
        return False
    time.sleep(rng.random() * 0.2)
    return start.running()


INSTANTS = {"starting": while_starting, "saving": while_saving, "committing": while_committing,
            "training": while_training}
