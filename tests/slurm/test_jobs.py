"""The batch scripts on a private SLURM of two nodes: whatever stops a run, its last checkpoint has the same bits."""
import os
import pathlib
import signal

from slurm_cluster import HOST_NAMES, SCRIPTS, rank_process
from training_jobs import RANKS, TrainingJobs

import hrm_cli
from hrm_cli import BAD_CONFIG, PROGRAM, STOPPED, write_jsonl


class Jobs(TrainingJobs):
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
            other = self.preempt(job)

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

    def test_time_limit_too_short_for_a_step_is_not_requeued(self):
        job = self.train(run__time_limit=3)  # less than what the program keeps for the save

        fields = job.ended("FAILED", STOPPED)

        self.assertEqual(fields["Restarts"], "0", job.log())
        self.assertIn("no step was saved", job.log())

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

    def test_smoke_of_an_installation(self):
        place = self.folder / "installed"
        self.tool("cmake", "--install", pathlib.Path(PROGRAM).resolve().parent, "--prefix", place)
        scripts = place / "share" / "hrm" / "slurm"

        job = self.submit(scripts / "smoke.sbatch", options=RANKS, environment={
            "HRM_PROGRAM": str(place / "bin" / "hrm"), "HRM_SLURM_DIR": str(scripts)})

        job.ended("COMPLETED")
        self.assertIn("this allocation works", job.log())

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


if __name__ == "__main__":
    hrm_cli.main()
