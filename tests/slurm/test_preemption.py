"""Every way in which SLURM takes a job's nodes away: with and without a warning, heeded or not, and at its time limit."""
import os
import signal
import time

from slurm_cluster import SCRIPTS, rank_process, until
from training_jobs import TrainingJobs

import hrm_cli
from hrm_cli import PROGRAM, STOPPED


class Preemption(TrainingJobs):
    def without_signal(self):
        """train.sbatch for a job that asks SLURM for no warning of its own."""
        lines = (SCRIPTS / "train.sbatch").read_text().splitlines(True)
        script = self.folder / "no-signal.sbatch"
        script.write_text("".join(line for line in lines if not line.startswith("#SBATCH --signal")))
        return script

    def hold(self, job):
        """Stops every rank after the first checkpoint: they hear nothing until SLURM ends them."""
        until((self.run_folder / "step-00000005.h5").exists, job.describe, pause=0.005)
        for rank in range(4):
            os.kill(rank_process(self.run_folder, rank), signal.SIGSTOP)

    def test_default_signals(self):
        job = self.train(self.without_signal())

        with self.standing_still(job):
            other = self.preempt(job)

        self.assert_went_on(job)
        other.ended("COMPLETED")

    def test_mpirun_is_told_through_the_batch_shell(self):
        job = self.train(options=["--signal=B:USR1@60"], environment={"HRM_LAUNCHER": "mpirun"})

        with self.standing_still(job):
            other = self.preempt(job)

        self.assert_went_on(job)
        other.ended("COMPLETED")

    def test_no_time_of_grace(self):
        job = self.train(options=["--partition=abrupt"], watchdog__enabled="false")
        self.hold(job)

        other = self.preempt(job)

        self.assert_went_on(job)
        other.ended("COMPLETED")

    def test_run_stops_by_itself_ahead_of_the_time_limit(self):
        # SIGCONT takes the place of the warning, so nothing but the program's own clock can stop it in time. One rank
        # is held for half of the minute, so that few steps are made.
        job = self.train(options=["--time=1", "--signal=CONT@1"], train__max_steps=100000, checkpoint__keep_last=500)
        until((self.run_folder / "step-00000005.h5").exists, job.describe, pause=0.005)
        rank = rank_process(self.run_folder, 3)
        os.kill(rank, signal.SIGSTOP)
        end = time.mktime(time.strptime(job.show()["EndTime"], "%Y-%m-%dT%H:%M:%S"))
        time.sleep(max(0, end - 30 - time.time()))
        os.kill(rank, signal.SIGCONT)

        job.requeued()

        again = until(lambda: [row for row in self.rows("job") if row["restart"] == 1], job.describe)
        self.assertIn("stopped ahead of the time limit", job.log())
        step = again[0]["first_step"]
        self.assertGreater(step, 5)
        job.cancel()
        straight = self.folder / "straight"
        done = hrm_cli.run_hrm(*self.arguments(straight, train__max_steps=100000), "--stop-after", step)
        self.assertEqual(done.code, STOPPED, done)
        self.tool(PROGRAM, "inspect", "--diff", straight / "latest.h5", self.run_folder / f"step-{step:08}.h5")


if __name__ == "__main__":
    hrm_cli.main()
