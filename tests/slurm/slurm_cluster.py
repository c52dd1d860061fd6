"""A private SLURM of two nodes and jobs on it. CLI_PROGRAM and CLI_MPIEXEC as for tests/cli."""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = ROOT / "slurm"
sys.path.insert(0, str(HERE.parent / "cli"))

from hrm_cli import MPI_ENVIRONMENT, PROGRAM  # noqa: E402

PATIENCE = 60  # seconds that any one thing may take
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}

# Everything that Open MPI opens stays on this machine; ranks outnumber the cores.
LOCAL_MPI = {**MPI_ENVIRONMENT, "OMPI_MCA_oob_tcp_if_include": "lo", "OMPI_MCA_btl_tcp_if_include": "lo",
             "OMPI_MCA_mpi_yield_when_idle": "1"}

# cluster.sh gives each node a host name and shared memory of its own where it may (root may). Else MPI takes the nodes
# for one, and must not look for a neighbour's memory.
SEPARATE_NODES = subprocess.run(["unshare", "--uts", "--mount", "true"], capture_output=True).returncode == 0
HOST_NAMES = ["node1", "node2"] if SEPARATE_NODES else [socket.gethostname().split(".")[0]]
if not SEPARATE_NODES:
    LOCAL_MPI["OMPI_MCA_btl"] = "self,tcp"


def until(check, what, seconds=PATIENCE, pause=0.05):
    """What check() returns as soon as that is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := check():
            return result
        time.sleep(pause)
    raise AssertionError(f"not within {seconds} s: {what() if callable(what) else what}")


def free_ports():
    """The first of three ports in a row that nothing listens on."""
    for first in range(17000 + os.getpid() % 900 * 3, 20000, 3):
        try:
            for port in range(first, first + 3):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise AssertionError("no three free ports in a row below 20000")


class SlurmTest(unittest.TestCase):
    """A cluster for the class; a job folder, with a blank in its name, for each test."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = pathlib.Path(tempfile.mkdtemp(prefix="hrm-slurm-"))
        cls.addClassCleanup(shutil.rmtree, cls.cluster, ignore_errors=True)
        cls.jobs = pathlib.Path(tempfile.mkdtemp(prefix="hrm slurm "))
        cls.addClassCleanup(shutil.rmtree, cls.jobs, ignore_errors=True)
        cls.addClassCleanup(cls.end_cluster)
        cls.environment = {**os.environ, **LOCAL_MPI, "SLURM_CONF": str(cls.cluster / "slurm.conf"),
                           "HOME": "/nonexistent", "HRM_PROGRAM": str(pathlib.Path(PROGRAM).resolve()),
                           "HRM_SLURM_DIR": str(SCRIPTS)}
        cls.tool(HERE / "cluster.sh", "up", cls.cluster, free_ports())

    @classmethod
    def end_cluster(cls):
        cls.tool(HERE / "cluster.sh", "down", cls.cluster)
        left = [pid for pid in processes() if names_folder(pid, cls.cluster) or names_folder(pid, cls.jobs)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        if left:
            raise AssertionError(f"processes left behind: {left}")

    @classmethod
    def tool(cls, *command, folder=None, environment=None):
        """What the command prints; an AssertionError where it fails or hangs."""
        done = subprocess.run([str(word) for word in command], cwd=folder or cls.jobs, text=True, timeout=PATIENCE,
                              capture_output=True, env={**cls.environment, **(environment or {})})
        if done.returncode != 0:
            raise AssertionError(f"$ {command}\nexit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=self.jobs, prefix=f"{self._testMethodName} "))

    def submit(self, script, *arguments, options=(), environment=None):
        text = self.tool("sbatch", "--parsable", "--output=job-%j.log", *options, script, *arguments,
                         folder=self.folder, environment=environment)
        job = Job(self, text.strip())
        self.addCleanup(job.cancel)
        return job


class Job:
    def __init__(self, test, number):
        self.test, self.number = test, number

    def show(self):
        """Fields of `scontrol show job`."""
        text = self.test.tool("scontrol", "--oneliner", "show", "job", self.number)
        return dict(re.findall(r"(\S+?)=(\S*)", text))

    def log(self):
        path = self.test.folder / f"job-{self.number}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def describe(self):
        return f"job {self.show()}\n--- log\n{self.log()}"

    def cancel(self):
        if self.show()["JobState"] not in ENDED:
            self.test.tool("scancel", self.number)
            until(lambda: self.show()["JobState"] in ENDED, "cancelled job ends")

    def signal(self, name, *options):
        self.test.tool("scancel", f"--signal={name}", *options, self.number)

    def requeued(self, restarts=1):
        """Waits for the job to be queued again, and releases it from the two minutes that SLURM holds it back. They are
        there for a reason: the steps of both starts have the same names, and credentials are told apart by seconds."""
        until(lambda: self.show()["Restarts"] == str(restarts), self.describe)
        until(lambda: not self.step_daemons(), self.describe)
        fields = self.show()
        time.sleep(2)
        until(self.started_now, self.describe)
        return fields

    def step_daemons(self):
        title = f"slurmstepd: [{self.number}.".encode()
        return [pid for pid in processes() if read_proc(pid, "cmdline").startswith(title)]

    def started_now(self):
        if self.show()["JobState"] in ENDED | {"RUNNING"}:
            return True
        subprocess.run(["scontrol", "update", f"JobId={self.number}", "StartTime=now"], env=self.test.environment,
                       capture_output=True, timeout=PATIENCE)
        return False

    def ended(self, state, code=0):
        """Waits for the end and compares state and exit code of the batch script."""
        until(lambda: self.show()["JobState"] in ENDED, self.describe)
        fields = self.show()
        self.test.assertEqual((fields["JobState"], fields["ExitCode"]), (state, f"{code}:0"), self.describe())
        return fields


def processes():
    return [int(entry.name) for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]


def read_proc(pid, name):
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def names_folder(pid, folder):
    """Whether a living process was started with this path in its arguments or environment."""
    path = str(folder).encode()
    return pid != os.getpid() and (path in read_proc(pid, "cmdline") or path in read_proc(pid, "environ"))


def rank_process(folder, rank):
    """Process of one rank of a run in `folder`; nothing where there is none."""
    for pid in processes():
        try:
            same_program = os.path.samefile(f"/proc/{pid}/exe", PROGRAM)
        except OSError:
            continue
        if same_program and str(folder).encode() in read_proc(pid, "cmdline") and rank_of(pid) == rank:
            return pid
    return None


def rank_of(pid):
    variables = dict(entry.split(b"=", 1) for entry in read_proc(pid, "environ").split(b"\0") if b"=" in entry)
    # mpirun's daemons are tasks of SLURM themselves and hand their own number on
    return int(variables.get(b"OMPI_COMM_WORLD_RANK", variables.get(b"SLURM_PROCID", b"-1")))
