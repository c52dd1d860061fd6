"""Runs the built program as a user would and checks exit code and messages.

CLI_PROGRAM names the program (default build/hrm), CLI_MPIEXEC the launcher (default mpirun).
"""
import json
import os
import pathlib
import random
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("CLI_PROGRAM", str(ROOT / "build" / "hrm"))
MPIEXEC = os.environ.get("CLI_MPIEXEC", "mpirun")
TINY = ROOT / "configs" / "tiny.cfg"

CHECK_FAILED, USAGE, BAD_DATA, NO_INPUT, CANNOT_CREATE, IO_ERROR = 1, 64, 65, 66, 73, 74
STOPPED, NUMERICS, BAD_CONFIG = 75, 76, 78

MPI_ENVIRONMENT = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "OMPI_MCA_hwloc_base_binding_policy": "none", "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    "OMPI_MCA_mpi_yield_when_idle": "1"}


class Outcome:
    """Exit code and what the program wrote."""

    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def errors(self):
        """Error messages; one may take several lines."""
        return [part.split("\n----")[0] for part in self.err.split("hrm: error: ")[1:]]

    def __str__(self):
        return f"$ {' '.join(map(str, self.command))}\nexit code {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"


def launch(command, environment=None, folder=None, timeout=120, stdin=""):
    try:
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=timeout, cwd=folder,
                              input=stdin.encode(), env={**os.environ, **MPI_ENVIRONMENT, **(environment or {})})
    except subprocess.TimeoutExpired as expired:
        raise AssertionError(f"hangs: {expired}") from expired
    return Outcome(command, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def run_hrm(*arguments, ranks=None, **options):
    """Alone (ranks None) or under the launcher."""
    launcher = [] if ranks is None else [MPIEXEC, "-n", str(ranks)]
    return launch([*launcher, PROGRAM, *arguments], **options)


def settings(**values):
    """--set options: train__packs=2 becomes --set train.packs=2."""
    return [word for key, value in values.items() for word in ("--set", f"{key.replace('__', '.')}={value}")]


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def sums(count, seed=7):
    """Samples of two strata and of many lengths, responses of one token among them."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        a, b = rng.randrange(100), rng.randrange(100)
        if number % 3:
            rows.append({"instruction": f"{a} + {b} =", "response": str(a + b), "source": "sums"})
        else:
            words = " ".join(rng.choice(["one", "two", "three", "four"]) for _ in range(rng.randrange(1, 30)))
            rows.append({"instruction": f"Repeat: {words}", "response": words, "condition": "cot", "source": "words"})
    return rows


class HrmTest(unittest.TestCase):
    """A scratch folder and checks that print the whole outcome when they fail."""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="hrm test ")  # with a blank: paths are never split
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def hrm(self, *arguments, code=0, **options):
        outcome = run_hrm(*arguments, **options)
        self.assertEqual(outcome.code, code, outcome)
        return outcome

    def refused(self, code, *arguments, says=(), **options):
        """Ends with `code` and one error message that holds every text of `says`."""
        outcome = run_hrm(*arguments, **options)
        self.check_refusal(outcome, code, says)
        return outcome

    def check_refusal(self, outcome, code, says=()):
        self.assertEqual(outcome.code, code, outcome)
        self.assertEqual(len(outcome.errors()), 1, outcome)
        for text in says:
            self.assertIn(text, outcome.errors()[0], outcome)

    def assert_nothing_in(self, folder):
        left = sorted(path.name for path in folder.rglob("*") if path.is_file()) if folder.exists() else []
        self.assertEqual(left, [])

    def tokenizer(self, corpus, vocabulary=400, name="tokenizer.json"):
        path = self.folder / name
        self.hrm("tokenizer", "train", "--input", corpus, "--vocab-size", vocabulary, "--out", path)
        return path

    def shards(self, rows=None, name="shards", ranks=None, tokenizer=None, options=()):
        """(folder of shards, tokenizer file) made from rows."""
        corpus = write_jsonl(self.folder / f"{name}.jsonl", rows or sums(1200))
        tokenizer = tokenizer or self.tokenizer(corpus)
        out = self.folder / name
        self.hrm("prepare", "--input", corpus, "--tokenizer", tokenizer, "--out", out, *options, ranks=ranks)
        return out, tokenizer

    def train(self, shards, run, *arguments, code=0, ranks=None, threads=1, timeout=300, environment=None, **values):
        """hrm train on configs/tiny.cfg; keyword values become --set options."""
        return self.hrm("train", "--config", TINY, *settings(data__path=shards, checkpoint__dir=run,
                                                             device__threads=threads, **values),
                        *arguments, code=code, ranks=ranks, timeout=timeout, environment=environment)

    def same(self, first, second):
        """hrm inspect --diff finds no difference."""
        self.hrm("inspect", "--diff", first, second)


def main():
    unittest.main(verbosity=2)
