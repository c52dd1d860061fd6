"""Checkpoints written while training goes on: the same files, whatever instant the run is killed at or the disk fills."""
import json
import os
import pathlib
import random
import resource
import signal
import subprocess
import time

from hrm_cli import MPI_ENVIRONMENT, MPIEXEC, PROGRAM, STOPPED, TINY, HrmTest, main, settings, sums

IO_ERROR = 74
KILLS = 15


class Saves(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(600))
        self.run_folder = self.folder / "run"

    def go(self, *arguments, code=0, run=None, **values):
        return self.train(self.data, run or self.run_folder, *arguments, code=code, **values)

    def start(self, *arguments, ranks=None, **values):
        """The program, running."""
        launcher = [] if ranks is None else [MPIEXEC, "-n", str(ranks)]
        chosen = settings(data__path=self.data, checkpoint__dir=self.run_folder, device__threads=1, **values)
        run = subprocess.Popen([*launcher, PROGRAM, "train", "--config", str(TINY), *chosen, *map(str, arguments)],
                               env={**os.environ, **MPI_ENVIRONMENT}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               text=True)
        self.addCleanup(run.stderr.close)
        self.addCleanup(run.kill)
        return run

    def events(self, kind):
        journal = self.run_folder / "metrics.jsonl"
        rows = [json.loads(line) for line in journal.read_text().splitlines(True) if line.endswith("\n")] \
            if journal.exists() else []
        return [row for row in rows if row["record"] == "event" and row["kind"] == kind]

    def checkpoints(self, run=None):
        return sorted(path.name for path in (run or self.run_folder).glob("step-*.h5"))

    def temporaries(self):
        return [path.name for path in self.run_folder.glob(".step-*")]

    def wait_until(self, done, run, seconds=60):
        end = time.monotonic() + seconds
        while not done():
            self.assertIsNone(run.poll(), "the run ended too early")
            self.assertLess(time.monotonic(), end, "takes too long")
            time.sleep(0.005)

    @staticmethod
    def limit_files(process, size=None):
        """From now on the process cannot write files beyond `size` bytes: a disk that is full for large files."""
        most = resource.prlimit(process, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(process, resource.RLIMIT_FSIZE, (most if size is None else size, most))

    @staticmethod
    def ranks_of(launcher):
        return [int(child) for child in pathlib.Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()]

    def test_a_save_in_every_step_in_the_background_gives_the_files_of_saves_at_once(self):
        every = {"train__max_steps": 10, "checkpoint__interval_steps": 1, "checkpoint__keep_last": 100}
        at_once = self.folder / "at-once"
        self.go(run=at_once, ranks=2, checkpoint__async="false", **every)
        expected = self.checkpoints(at_once)
        self.assertEqual(len(expected), 10)

        for ranks, staging in ((1, 1 << 20), (2, 1 << 28)):
            behind = self.folder / f"behind{ranks}"
            self.go(run=behind, ranks=ranks, checkpoint__staging_bytes=staging, **every)

            self.assertEqual(self.checkpoints(behind), expected)
            for name in expected:
                self.same(at_once / name, behind / name)
                self.hrm("inspect", "--verify", behind / name)

    def test_saves_a_few_steps_apart_are_all_there(self):
        self.go(train__max_steps=10, checkpoint__interval_steps=3)

        self.assertEqual(self.checkpoints(), [f"step-{step:08}.h5" for step in (3, 6, 9, 10)][-3:])
        self.assertEqual([event["step"] for event in self.events("checkpoint")], [3, 6, 9, 10])

    def test_time_that_the_run_stood_still_is_in_the_metrics(self):
        self.go(train__max_steps=6, checkpoint__interval_steps=2)

        rows = [json.loads(line) for line in (self.run_folder / "metrics.jsonl").read_text().splitlines()]
        stalls = {row["step"]: row["seconds_checkpoint"] for row in rows if row["record"] == "train"}
        self.assertEqual((stalls[1], stalls[2]), (0, 0))
        self.assertGreater(stalls[3], 0)

    def test_killed_at_any_instant_leaves_a_good_checkpoint_and_goes_on(self):
        rng = random.Random(3)
        self.go("--stop-after", 1, code=STOPPED)
        reached = 1
        for _ in range(KILLS):
            run = self.start("--resume", "auto", ranks=2, checkpoint__interval_steps=1, train__max_steps=100000)
            before = len(self.events("checkpoint"))
            self.wait_until(lambda before=before: len(self.events("checkpoint")) > before, run)
            time.sleep(rng.random() * 0.3)
            for rank in self.ranks_of(run.pid):
                os.kill(rank, signal.SIGKILL)
            run.wait(timeout=60)

            self.assertLessEqual(len(self.temporaries()), 1)
            newest = self.checkpoints()[-1]
            self.hrm("inspect", "--verify", self.run_folder / newest)
            self.hrm("inspect", "--verify", self.run_folder / "latest.h5")
            self.assertGreater(int(newest[5:13]), reached)
            reached = int(newest[5:13])

        self.go("--resume", "auto", "--stop-after", reached + 1, code=STOPPED, train__max_steps=100000)
        self.assertEqual(self.temporaries(), [])
        self.go("--stop-after", reached + 1, code=STOPPED, run=self.folder / "straight", train__max_steps=100000)
        self.same(self.run_folder / "latest.h5", self.folder / "straight" / "latest.h5")

    def test_run_goes_on_past_a_failed_save_and_the_next_one_works(self):
        run = self.start(checkpoint__interval_steps=10, train__max_steps=100000, checkpoint__keep_last=1000)
        self.wait_until(lambda: self.events("checkpoint"), run)
        self.limit_files(run.pid, 200000)
        self.wait_until(lambda: self.events("save_failed"), run)
        self.limit_files(run.pid)
        failed = self.events("save_failed")[-1]["step"]
        self.wait_until(lambda: self.events("checkpoint")[-1]["step"] > failed, run)
        run.send_signal(signal.SIGUSR1)

        self.assertEqual(run.wait(timeout=60), STOPPED)
        self.assertEqual(run.stderr.read().count("hrm: warning: the save of step"), 1)
        self.assertNotIn(f"step-{failed:08}.h5", self.checkpoints())
        self.assertIn(f"step-{failed + 10:08}.h5", self.checkpoints())
        self.assertEqual(self.temporaries(), [])

    def test_run_goes_on_past_a_run_folder_that_was_away_for_a_while(self):
        run = self.start(checkpoint__interval_steps=10, train__max_steps=100000, checkpoint__keep_last=1000)
        self.wait_until(lambda: self.events("checkpoint"), run)
        away = self.folder / "away"
        self.run_folder.rename(away)
        journal = away / "metrics.jsonl"
        self.wait_until(lambda: '"save_failed"' in journal.read_text(), run)
        away.rename(self.run_folder)
        failed = self.events("save_failed")[-1]["step"]
        self.wait_until(lambda: self.events("checkpoint")[-1]["step"] > failed, run)
        run.send_signal(signal.SIGUSR1)

        self.assertEqual(run.wait(timeout=60), STOPPED)
        self.assertEqual(self.temporaries(), [])
        self.hrm("inspect", "--verify", self.run_folder / "latest.h5")

    def test_second_failed_save_in_a_row_ends_the_run_and_the_last_good_one_serves(self):
        run = self.start(checkpoint__interval_steps=10, train__max_steps=100000)
        self.wait_until(lambda: self.events("checkpoint"), run)
        self.limit_files(run.pid, 200000)

        self.assertEqual(run.wait(timeout=60), IO_ERROR)

        self.assertIn("the second failed save in a row", run.stderr.read())
        status = json.loads((self.run_folder / "status.json").read_text())
        self.assertEqual((status["state"], status["exit_code"]), ("failed", IO_ERROR))
        self.assertEqual(len(self.events("save_failed")), 2)
        self.assertEqual(self.temporaries(), [])
        newest = int(self.checkpoints()[-1][5:13])
        self.assertEqual(newest, self.events("checkpoint")[-1]["step"])
        self.go("--resume", "auto", "--stop-after", newest + 1, code=STOPPED, train__max_steps=100000)

    def test_rank_that_cannot_write_fails_the_save_of_all(self):
        run = self.start(checkpoint__interval_steps=10, train__max_steps=100000, ranks=2)
        self.wait_until(lambda: self.events("checkpoint"), run)
        other = self.ranks_of(run.pid)[-1]
        self.limit_files(other, 4096)
        self.wait_until(lambda: self.events("save_failed"), run)
        self.limit_files(other)
        failed = self.events("save_failed")[-1]
        self.wait_until(lambda: self.events("checkpoint")[-1]["step"] > failed["step"], run)
        run.send_signal(signal.SIGUSR1)

        self.assertEqual(run.wait(timeout=60), STOPPED)
        self.assertIn("cannot write", failed["text"])

    def test_failure_of_the_last_save_is_the_end(self):
        run = self.start(train__max_steps=100000)
        self.wait_until(lambda: (self.run_folder / "metrics.jsonl").exists(), run)
        self.limit_files(run.pid, 200000)
        run.send_signal(signal.SIGUSR1)

        self.assertEqual(run.wait(timeout=60), IO_ERROR)
        self.assertEqual(self.checkpoints() + self.temporaries(), [])


if __name__ == "__main__":
    main()
