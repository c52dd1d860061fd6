"""What a run leaves behind when it stops, fails, is resumed elsewhere or starts from another's weights."""
import json
import os
import signal
import subprocess
import time

from hrm_cli import (BAD_CONFIG, CANNOT_CREATE, MPI_ENVIRONMENT, MPIEXEC, PROGRAM, STOPPED, TINY, HrmTest, main,
                     settings, sums)


class Restart(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, self.tok = self.shards(sums(600))
        self.run_folder = self.folder / "run"

    def go(self, *arguments, code=0, run=None, **values):
        return self.train(self.data, run or self.run_folder, *arguments, code=code, **values)

    def status(self):
        return json.loads((self.run_folder / "status.json").read_text())

    def events(self):
        lines = (self.run_folder / "metrics.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row["record"] == "event"]

    def checkpoints(self):
        return sorted(path.name for path in self.run_folder.glob("step-*.h5"))

    def test_refused_start_leaves_the_last_verdict(self):
        self.go("--stop-after", 2, code=STOPPED)

        self.go(code=CANNOT_CREATE)

        self.assertEqual((self.status()["state"], self.status()["exit_code"]), ("stopped", STOPPED))

    def test_failing_run_writes_its_verdict(self):
        self.go(code=BAD_CONFIG, train__packs=400)

        status = self.status()
        self.assertEqual((status["state"], status["exit_code"]), ("failed", BAD_CONFIG))
        self.assertIn("packs", status["reason"])

    def test_stop_after_a_step_that_is_done_stops_at_once(self):
        self.go("--stop-after", 4, code=STOPPED)

        self.go("--stop-after", 3, "--resume", "auto", code=STOPPED)

        self.assertEqual(self.status()["step"], 4)

    def test_shorter_plan_than_what_is_done_is_finished(self):
        self.go("--stop-after", 8, code=STOPPED)

        self.go("--resume", "auto", train__max_steps=6)

        self.assertEqual(self.status()["state"], "finished")

    def test_checkpoint_beyond_a_shorter_plan_is_finished_in_another_folder(self):
        self.go("--stop-after", 6, code=STOPPED)
        shorter = {"train__max_steps": 4, "train__lr_warmup_steps": 1}

        self.go("--resume", self.run_folder / "step-00000006.h5", run=self.folder / "other", **shorter)

        self.same(self.run_folder / "latest.h5", self.folder / "other" / "step-00000006.h5")

    def layouts(self):
        return [event["text"] for event in self.events() if event["kind"] == "layout"]

    def test_one_event_names_what_a_restart_changes(self):
        self.go("--stop-after", 2, code=STOPPED, train__beta1=0)
        changes = ({"train__beta1": 0}, {}, {"train__learning_rate": 1e-3, "train__lr_warmup_steps": 4, "ranks": 2},
                   {"train__ema": 0, "train__weight_decay": 0.2}, {"guard__window": 16, "train__log_interval": 2},
                   {"checkpoint__interval_steps": 1, "train__max_steps": 30})
        texts = []
        for step, values in enumerate(changes, 3):
            before = len(self.layouts()) if texts else 0
            self.go("--resume", "auto", "--stop-after", step, code=STOPPED, **values)
            texts.append(self.layouts()[before:])

        self.assertEqual(texts, [
            [],
            ["train.beta1 was 0, is 0.9; the checkpoint holds no /optimizer/exp_avg, which starts anew: "
             "not bit-equal"],
            ["was data 1 x tensor 1, is data 2 x tensor 1; train.learning_rate was 0.002, is 0.001; "
             "train.lr_warmup_steps was 5, is 4: not bit-equal"],
            ["was data 2 x tensor 1, is data 1 x tensor 1; train.learning_rate was 0.001, is 0.002; "
             "train.lr_warmup_steps was 4, is 5; train.weight_decay was 0.1, is 0.2; train.ema was 0.8, is 0: "
             "not bit-equal"],
            ["guard.window was 128, is 16; train.weight_decay was 0.2, is 0.1; train.ema was 0, is 0.8; "
             "the checkpoint holds no /ema, which starts anew: not bit-equal"],
            ["checkpoint.interval_steps was 0, is 1; guard.window was 16, is 128; planned steps were 40, are 30: "
             "not bit-equal"]])

    def test_what_only_the_guard_looks_at_may_change_bits_where_it_refuses(self):
        self.go("--stop-after", 2, code=STOPPED)

        self.go("--resume", "auto", "--stop-after", 3, code=STOPPED, ranks=2, guard__window=16)

        self.assertEqual(self.layouts(), ["was data 1 x tensor 1, is data 2 x tensor 1; guard.window was 128, is 16: "
                                          "bit-equal unless steps are refused"])

    def test_finished_run_is_not_made_again(self):
        self.go(train__max_steps=6)
        before = (self.run_folder / "step-00000006.h5").stat().st_mtime_ns

        self.go("--resume", "auto", train__max_steps=6)

        self.assertEqual((self.run_folder / "step-00000006.h5").stat().st_mtime_ns, before)

    def test_start_without_time_for_a_step_adds_nothing(self):
        self.go(code=STOPPED, run__time_limit=1)
        before = (self.run_folder / "step-00000000.h5").stat().st_ino

        self.go("--resume", "auto", code=STOPPED, run__time_limit=1)

        self.assertEqual((self.run_folder / "step-00000000.h5").stat().st_ino, before)
        self.assertIn("ahead of the time limit", self.status()["reason"])

    def test_run_that_is_done_elsewhere_is_this_folders_latest(self):
        done = self.folder / "done"
        self.go(run=done, train__max_steps=6)
        self.go("--stop-after", 2, code=STOPPED, train__max_steps=6)

        self.go("--resume", done / "latest.h5", train__max_steps=6)

        self.assertEqual(os.readlink(self.run_folder / "latest.h5"), "step-00000006.h5")
        self.assertEqual(self.status()["last_checkpoint"], "step-00000006.h5")
        self.same(done / "latest.h5", self.run_folder / "latest.h5")

    def test_row_of_a_killed_start_is_ended(self):
        self.go("--stop-after", 3, code=STOPPED)
        journal = self.run_folder / "metrics.jsonl"
        rows = list(map(json.loads, journal.read_text().splitlines()))
        self.assertEqual([row["end"] for row in rows if row["record"] == "job"][0], None)
        killed = [row for row in rows if not (row["record"] == "job" and row["end"])]
        journal.write_text("".join(json.dumps(row) + "\n" for row in killed))

        self.go("--resume", "auto", "--stop-after", 5, code=STOPPED)

        jobs = [row for row in map(json.loads, journal.read_text().splitlines()) if row["record"] == "job"]
        starts = {row["start_id"]: row for row in jobs}
        self.assertEqual([(row["restart"], row["last_step"]) for row in starts.values()], [(0, 3), (1, 5)])

    def test_journal_is_no_place_for_the_metrics_file(self):
        outcome = self.go(code=BAD_CONFIG, metrics__path=self.folder / "m.jsonl")

        self.check_refusal(outcome, BAD_CONFIG, ["metrics.path", "m.jsonl"])

    def test_resuming_an_older_step_gives_the_later_ones_up(self):
        self.go("--stop-after", 6, code=STOPPED, checkpoint__interval_steps=2)
        older = self.run_folder / "step-00000002.h5"

        self.go("--resume", older, "--stop-after", 3, code=STOPPED)

        self.assertEqual(self.checkpoints(), ["step-00000002.h5", "step-00000003.h5"])
        self.assertEqual((self.run_folder / "latest.h5").resolve().name, "step-00000003.h5")
        self.assertIn("rollback", [event["kind"] for event in self.events()])

    def test_killed_between_the_checkpoints_name_and_its_link(self):
        self.go("--stop-after", 4, code=STOPPED, checkpoint__interval_steps=2)
        latest = self.run_folder / "latest.h5"
        for wrong in ("step-00000002.h5", "step-00000099.h5", None):
            with self.subTest(link=wrong):
                latest.unlink()
                if wrong:
                    latest.symlink_to(wrong)

                self.go("--resume", "auto", "--stop-after", 4, code=STOPPED)

                self.assertEqual(os.readlink(latest), "step-00000004.h5")

    def test_what_was_given_up_is_bounded(self):
        keep = {"checkpoint__interval_steps": 1, "checkpoint__keep_last": 4}
        for _ in range(2):
            self.go("--resume", "auto", "--stop-after", 6, code=STOPPED, **keep)

            self.go("--resume", self.run_folder / "step-00000003.h5", "--stop-after", 3, code=STOPPED, **keep)

        old = sorted(path.name for path in self.run_folder.glob("*.old-*"))
        self.assertEqual(len(old), 4, old)
        self.assertEqual(sum(name.endswith(".old-2") for name in old), 3, old)
        self.assertEqual(os.readlink(self.run_folder / "latest.h5"), "step-00000003.h5")

    def test_lock_of_a_host_that_is_gone_is_taken_over_by_its_age(self):
        self.run_folder.mkdir()
        lock = self.run_folder / "lock"
        lock.write_text(json.dumps({"run_id": "0123456789abcdef", "host": "elsewhere", "boot_id": "another", "pid": 1}))
        self.check_refusal(self.go("--stop-after", 1, code=CANNOT_CREATE), CANNOT_CREATE, ["elsewhere", "taken over"])
        long_ago = time.time() - 1000
        os.utime(lock, (long_ago, long_ago))

        self.go("--stop-after", 1, code=STOPPED)

        self.assertEqual(self.status()["run_id"], "0123456789abcdef")
        self.assertFalse(lock.exists())

    def test_run_whose_lock_was_taken_over_gives_way(self):
        run = subprocess.Popen([PROGRAM, "train", "--config", str(TINY), *settings(
            data__path=self.data, checkpoint__dir=self.run_folder, device__threads=1, train__max_steps=100000)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(run.kill)
        lock = self.run_folder / "lock"
        while not (self.run_folder / "status.json").exists():
            self.assertIsNone(run.poll())
            time.sleep(0.01)
        holder = json.loads(lock.read_text())
        holder["start_id"] = "another"
        (self.run_folder / "new").write_text(json.dumps(holder))
        (self.run_folder / "new").rename(lock)

        _, err = run.communicate(timeout=60)

        self.assertEqual(run.returncode, CANNOT_CREATE, err)
        self.assertIn("another run has taken the folder over", err)
        self.assertEqual(json.loads(lock.read_text())["start_id"], "another")

    def test_average_may_begin_on_resume(self):
        self.go("--stop-after", 6, code=STOPPED, train__ema=0)

        self.go("--resume", "auto", "--stop-after", 7, code=STOPPED)

        self.assertTrue(any("/ema" in event["text"] for event in self.events()))

    def test_new_run_from_another_runs_weights(self):
        self.go("--stop-after", 6, code=STOPPED)
        source = self.run_folder / "step-00000006.h5"

        outcome = self.go("--init-from", source, "--stop-after", 6, code=STOPPED, run=self.folder / "tuned")
        changed = self.go("--init-from", source, "--stop-after", 1, code=STOPPED, run=self.folder / "changed",
                          model__rope_theta=5000)

        self.assertIn("training hrm", outcome.err)
        self.assertNotIn("warning: starts from", outcome.err)
        self.run_folder = self.folder / "tuned"
        self.assertTrue(any("step-00000006.h5, step 6" in event["text"] for event in self.events()), self.events())
        self.assertIn("model.rope_theta: stored 10000", changed.err)

    def test_weights_of_another_network_are_refused(self):
        self.go("--stop-after", 6, code=STOPPED)
        source = self.run_folder / "step-00000006.h5"

        for change in ({"model__hidden_size": 32}, {"model__architecture": "trm"}):
            outcome = self.go("--init-from", source, code=BAD_CONFIG, run=self.folder / "tuned", **change)
            self.check_refusal(outcome, BAD_CONFIG, ["--init-from"])

    def test_signal_to_one_rank_during_set_up_stops_all(self):
        environment = {**os.environ, **MPI_ENVIRONMENT}
        # mpirun passes USR1 on to every rank; sent while the run is being set up, ranks see it at different places.
        run = subprocess.Popen([MPIEXEC, "-n", "2", PROGRAM, "train", "--config", str(TINY),
                                *settings(data__path=self.data, checkpoint__dir=self.run_folder, device__threads=1)],
                               env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (self.run_folder / "lock").exists() and run.poll() is None:
            time.sleep(0.001)
        run.send_signal(signal.SIGUSR1)

        self.assertEqual(run.wait(timeout=120), STOPPED)
        self.assertEqual(self.status()["state"], "stopped")


if __name__ == "__main__":
    main()
