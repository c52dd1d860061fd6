"""Runs on disks that fill up, turn read-only, lose the run's folder or are slow. The disk is a small tmpfs in a mount
namespace of this test alone.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from hrm_cli import CANNOT_CREATE, MPI_ENVIRONMENT, PROGRAM, STOPPED, TINY, HrmTest, main, settings, sums

IO_ERROR = 74
LIBRARY = os.environ["CLI_FILE_CALLS"]
DISK_BYTES = 32 << 20  # room for what a run of configs/tiny.cfg keeps


class Disks(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(600))
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        self.mount(f"size={DISK_BYTES}")
        self.addCleanup(subprocess.run, ["umount", "--lazy", str(self.disk)], check=True)
        self.run_folder = self.disk / "run"

    def mount(self, options):
        kind = ["-t", "tmpfs", "tmpfs"] if "remount" not in options else []
        subprocess.run(["mount", *kind, "-o", options, str(self.disk)], check=True)

    def start(self, *arguments, environment=None, **values):
        chosen = settings(data__path=self.data, checkpoint__dir=self.run_folder, device__threads=1,
                          **{"checkpoint__interval_steps": 10, "train__max_steps": 100000, **values})
        with (self.folder / "errors").open("w") as errors:
            run = subprocess.Popen([PROGRAM, "train", "--config", str(TINY), *chosen, *arguments],
                                   env={**os.environ, **MPI_ENVIRONMENT, **(environment or {})},
                                   stdout=subprocess.DEVNULL, stderr=errors)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        return run

    def errors(self):
        return (self.folder / "errors").read_text()

    def events(self, kind):
        journal = self.run_folder / "metrics.jsonl"
        lines = journal.read_text().splitlines(True) if journal.exists() else []
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return [row for row in rows if row["record"] == "event" and row["kind"] == kind]

    def checkpoints(self):
        return sorted(path.name for path in self.run_folder.glob("step-*.h5"))

    def temporaries(self):
        return [path.name for path in self.run_folder.glob(".step-*")]

    def wait_until(self, done, run, seconds=60):
        end = time.monotonic() + seconds
        while not done():
            self.assertIsNone(run.poll(), self.errors())
            self.assertLess(time.monotonic(), end, "takes too long")
            time.sleep(0.005)

    def fill(self):
        """Takes all room that is left."""
        with (self.disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while ballast.write(bytes(4096)) > 0:
                    pass
            except OSError:
                pass

    def goes_on_from_the_newest(self):
        """Every checkpoint that is left is whole, and the run continues from the last."""
        for name in self.checkpoints():
            self.hrm("inspect", "--verify", self.run_folder / name)
        newest = int(self.checkpoints()[-1][5:13])
        self.train(self.data, self.run_folder, "--resume", "auto", "--stop-after", newest + 1, code=STOPPED,
                   train__max_steps=100000)

    def test_a_disk_without_room_for_a_checkpoint_is_refused_at_the_start(self):
        self.fill()
        with (self.disk / "ballast").open("r+b") as ballast:
            ballast.truncate(DISK_BYTES - (512 << 10))

        self.refused(CANNOT_CREATE, "train", "--config", TINY,
                     *settings(data__path=self.data, checkpoint__dir=self.run_folder),
                     says=["bytes", "left", str(self.run_folder)])

    def test_a_disk_that_fills_up_and_is_freed(self):
        run = self.start(checkpoint__keep_last=2)
        self.wait_until(lambda: self.events("checkpoint"), run)
        self.fill()
        self.wait_until(lambda: "the save of step" in self.errors(), run)
        (self.disk / "ballast").unlink()
        self.wait_until(lambda: self.events("save_failed"), run)
        failed = self.events("save_failed")[-1]
        self.wait_until(lambda: self.events("checkpoint")[-1]["step"] > failed["step"], run)
        run.send_signal(signal.SIGUSR1)

        self.assertEqual(run.wait(timeout=60), STOPPED)
        self.assertIn("free some space", failed["text"])
        self.assertEqual(self.temporaries(), [])
        self.goes_on_from_the_newest()

    def test_a_disk_that_stays_full_ends_the_run_and_the_last_good_checkpoint_serves(self):
        run = self.start(checkpoint__keep_last=2)
        self.wait_until(lambda: self.events("checkpoint"), run)
        self.fill()

        self.assertEqual(run.wait(timeout=60), IO_ERROR)
        self.assertIn("free some space", self.errors())
        self.assertEqual(self.temporaries(), [])
        (self.disk / "ballast").unlink()
        self.goes_on_from_the_newest()

    def test_a_disk_that_turns_read_only_ends_the_run(self):
        run = self.start(checkpoint__keep_last=2)
        self.wait_until(lambda: self.events("checkpoint"), run)
        # The journal stays open for writing, so the disk is not remounted but covered by a read-only view of itself.
        subprocess.run(["mount", "--bind", str(self.disk), str(self.disk)], check=True)
        self.mount("remount,bind,ro")

        self.assertEqual(run.wait(timeout=60), IO_ERROR)
        self.assertIn("Read-only", self.errors())
        subprocess.run(["umount", str(self.disk)], check=True)
        self.goes_on_from_the_newest()

    def test_a_read_only_disk_is_refused_at_the_start(self):
        self.mount("remount,ro")

        self.refused(CANNOT_CREATE, "train", "--config", TINY,
                     *settings(data__path=self.data, checkpoint__dir=self.run_folder), says=[str(self.run_folder)])

    def test_a_run_whose_folder_is_deleted_ends(self):
        run = self.start(checkpoint__keep_last=2)
        self.wait_until(lambda: self.events("checkpoint"), run)
        shutil.rmtree(self.run_folder)

        code = run.wait(timeout=60)

        self.assertIn(code, (CANNOT_CREATE, IO_ERROR))
        self.assertIn(str(self.run_folder), self.errors())

    def test_a_slow_disk_holds_up_neither_steps_nor_saves(self):
        slow = {"LD_PRELOAD": LIBRARY, "FILE_CALLS_FOLDER": str(self.run_folder), "FILE_CALLS_SLEEP": "300"}
        run = self.start(checkpoint__keep_last=2, environment=slow)
        self.wait_until(lambda: len(self.events("checkpoint")) >= 3, run)
        run.send_signal(signal.SIGUSR1)

        self.assertEqual(run.wait(timeout=60), STOPPED, self.errors())
        rows = [json.loads(line) for line in (self.run_folder / "metrics.jsonl").read_text().splitlines()]
        steps = [row["step"] for row in rows if row["record"] == "train"]
        self.assertEqual(steps, list(range(1, len(steps) + 1)))
        # Each save but the last was committed when a later step had ended.
        step, behind = 0, []
        for row in rows:
            step = row["step"] if row["record"] == "train" else step
            behind += [step - row["step"]] if row.get("kind") == "checkpoint" else []
        self.assertTrue(all(steps > 0 for steps in behind[:-1]), behind)
        self.goes_on_from_the_newest()


if __name__ == "__main__":
    if os.environ.get("HRM_TEST_NAMESPACE") != "1":
        user = [] if os.geteuid() == 0 else ["--map-root-user"]
        os.environ["HRM_TEST_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", *user, sys.executable, *sys.argv])
    main()
