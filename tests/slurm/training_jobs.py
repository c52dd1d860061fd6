"""Training jobs on a private SLURM of two nodes, to be disturbed and compared with an undisturbed run."""
import contextlib
import json
import os
import signal

from slurm_cluster import SCRIPTS, SlurmTest, rank_process, until

from hrm_cli import PROGRAM, TINY, settings, sums, write_jsonl

STEPS = 40
RANKS = ("--nodes=1-2", "--ntasks-per-node=2")  # both are free, so both are granted


class TrainingJobs(SlurmTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shards = cls.jobs / "shards"
        corpus = write_jsonl(cls.jobs / "corpus.jsonl", sums(600))
        cls.tool(PROGRAM, "tokenizer", "train", "--input", corpus, "--vocab-size", 300, "--out", cls.jobs / "tok.json")
        cls.tool(PROGRAM, "prepare", "--input", corpus, "--tokenizer", cls.jobs / "tok.json", "--out", cls.shards)
        cls.tool(PROGRAM, *cls.arguments(cls.jobs / "undisturbed"))  # one rank

    @classmethod
    def arguments(cls, run, **values):
        values = {"device__threads": 1, "train__max_steps": STEPS, "checkpoint__interval_steps": 5, **values}
        return ("train", "--config", TINY, *settings(data__path=cls.shards, checkpoint__dir=run, **values))

    def setUp(self):
        super().setUp()
        self.run_folder = self.folder / 'a "run" #1'

    def train(self, script="train.sbatch", options=(), environment=None, **values):
        return self.submit(SCRIPTS / script, *self.arguments(self.run_folder, **values)[1:],
                           options=(*RANKS, *options), environment=environment)

    def status(self):
        return json.loads((self.run_folder / "status.json").read_text())

    def rows(self, record):
        lines = (self.run_folder / "metrics.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["record"] == record]

    @contextlib.contextmanager
    def standing_still(self, job):
        """After the first checkpoint one rank is held, so that what is done to the job comes before the run's end."""
        rank = until(lambda: rank_process(self.run_folder, 3), job.describe, pause=0.01)
        until((self.run_folder / "step-00000005.h5").exists, job.describe, pause=0.005)
        os.kill(rank, signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rank, signal.SIGCONT)

    def assert_undisturbed_bits(self):
        self.tool(PROGRAM, "inspect", "--diff", self.jobs / "undisturbed" / "latest.h5", self.run_folder / "latest.h5")

    def assert_went_on(self, job):
        """Done after one requeue, from a checkpoint, with the bits of a run that was not stopped."""
        job.requeued()
        job.ended("COMPLETED")
        self.assertEqual(self.status()["state"], "finished")
        self.assertGreaterEqual(self.rows("job")[-1]["first_step"], 5)
        self.assert_undisturbed_bits()

    def script(self, text):
        path = self.folder / "script.sh"
        path.write_text(f"#!/bin/bash\n{text}\n")
        return path

    def preempt(self, job):
        """A job of a higher partition that wants both nodes; `job` has been told when this returns."""
        other = self.submit(self.script("sleep 1"), options=["--partition=high", "--nodes=2", "--exclusive"])
        until(lambda: job.show().get("PreemptTime", "None") != "None" or job.show()["JobState"] != "RUNNING",
              job.describe)
        return other
