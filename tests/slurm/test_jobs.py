"""The batch scripts on a private SLURM of two nodes: whatever stops a run, its last checkpoint has the same bits."""
import contextlib
import json
import os
import signal

from slurm_cluster import HOST_NAMES, SCRIPTS, SlurmTest, rank_process, until

import hrm_cli
from hrm_cli import BAD_CONFIG, PROGRAM, STOPPED, TINY, settings, sums, write_jsonl

STEPS = 40
RANKS = ("--nodes=1-2", "--ntasks-per-node=2")  # both are free, so both are granted


class Jobs(SlurmTest):
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
        return ("train", "--config", TINY, *settings(data__path=cls.shards, checkpoint__dir=run, device__threads=1,
                                                     train__max_steps=STEPS, checkpoint__interval_steps=5, **values))

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

    def test_trains_to_the_end_on_the_nodes_that_are_granted(self):
        job = self.train()

        job.ended("COMPLETED")

        start = self.rows("job")[0]
        self.assertEqual((start["data_parallel"], start["hosts"]), (4, ",".join(HOST_NAMES)))
        self.assertIn("(HRM_RUN_TIME_LIMIT)", job.log())
        self.assertNotIn("warning: environment variable", job.log())
        self.assert_undisturbed_bits()

    def test_signal(self):
        job = self.train()

        with self.standing_still(job):
            job.signal("USR1")

        self.assert_went_on(job)
        self.assertRegex(job.log(), "stopped: .* signal|stopped by SIGUSR1")  # rank 0 may be the last to get it

    def test_signal_through_mpirun(self):
        job = self.train(options=["--signal=B:USR1@60"], environment={"HRM_LAUNCHER": "mpirun"})

        with self.standing_still(job):
            job.signal("USR1", "--batch")

        self.assert_went_on(job)

    def test_killed_rank(self):
        job = self.train()

        with self.standing_still(job):
            os.kill(rank_process(self.run_folder, 2), signal.SIGKILL)

        self.assert_went_on(job)

    def test_preemption(self):
        job = self.train()

        with self.standing_still(job):
            other = self.submit(self.script("sleep 1"), options=["--partition=high", "--nodes=2", "--exclusive"])
            until(lambda: job.show().get("PreemptTime", "None") != "None", job.describe)

        self.assert_went_on(job)
        other.ended("COMPLETED")

    def test_requeue_from_outside(self):
        job = self.train()

        with self.standing_still(job):
            self.tool("scontrol", "requeue", job.number)

        self.assert_went_on(job)

    def test_wrong_configuration_is_not_requeued(self):
        job = self.train(train__packs=100000)

        fields = job.ended("FAILED", BAD_CONFIG)

        self.assertEqual(fields["Restarts"], "0", job.log())

    def test_denied_requeue_fails(self):
        job = self.train(options=["--no-requeue"])

        with self.standing_still(job):
            job.signal("USR1")

        job.ended("FAILED", STOPPED)
        self.assertIn("requeue was denied", job.log())

    def test_chain(self):
        first, second, third = (self.train("chain.sbatch", options=["--job-name=chain test"]) for _ in range(3))

        with self.standing_still(first):
            first.signal("USR1")

        first.ended("COMPLETED")
        second.ended("COMPLETED")
        third.ended("CANCELLED")
        self.assert_undisturbed_bits()

    def test_shards_on_the_nodes_own_disk(self):
        staged = self.folder / "own disk"

        job = self.train(environment={"HRM_STAGE_DIR": str(staged)})

        job.ended("COMPLETED")
        self.assertIn(f"path = {staged}/".encode(), (self.run_folder / "latest.h5").read_bytes())
        self.assertEqual(list(staged.iterdir()), [])
        self.assert_undisturbed_bits()

    def test_smoke(self):
        job = self.submit(SCRIPTS / "smoke.sbatch", options=RANKS)

        job.ended("COMPLETED")

        self.assertRegex(job.log(), rf"rank +3 on {HOST_NAMES[-1]}: \d+ cores")
        self.assertIn("this allocation works", job.log())
        self.assertEqual([path.name for path in self.folder.iterdir()], [f"job-{job.number}.log"])

    def test_prepare_and_eval(self):
        prepare = self.submit(SCRIPTS / "prepare.sbatch", "--input", self.jobs / "corpus.jsonl", "--tokenizer",
                              self.jobs / "tok.json", "--out", self.folder / "shards", options=RANKS)
        prepare.ended("COMPLETED")
        questions = write_jsonl(self.folder / "questions.jsonl",
                                [{"benchmark": "sums", "question": "1 + 1 =", "answer": "2"}])

        scores = self.submit(SCRIPTS / "eval.sbatch", "--checkpoint", self.jobs / "undisturbed" / "latest.h5",
                             "--benchmark", questions, "--json", options=RANKS)

        scores.ended("COMPLETED")
        made, expected = (sorted(path.read_bytes() for path in folder.glob("*.h5"))
                          for folder in (self.folder / "shards", self.shards))
        self.assertEqual(made, expected)
        self.assertIn('"sums"', scores.log())

    def script(self, text):
        path = self.folder / "script.sh"
        path.write_text(f"#!/bin/bash\n{text}\n")
        return path


if __name__ == "__main__":
    hrm_cli.main()
