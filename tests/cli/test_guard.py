"""Runs whose loss explodes: refused steps, rollbacks and the end with 76; digests of the state on the way.

The explosion is a learning rate of 50 on resume: the first update with it wrecks the weights, always in the same way.
"""
import json
import shutil

import h5py

from hrm_cli import NUMERICS, STOPPED, HrmTest, main, sums

START = 12  # steps before the explosion
WILD = {"train__learning_rate": 50, "guard__window": 8}


class Guard(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(600))

    def go(self, run, *arguments, code=0, **values):
        return self.train(self.data, self.folder / run, *arguments, code=code, **values)

    def calm(self, run="calm", **values):
        """A run that has a checkpoint at step START only."""
        self.go(run, "--stop-after", START, code=STOPPED, guard__window=8, **values)
        return self.folder / run

    def copy(self, run, name):
        shutil.copytree(run, self.folder / name, symlinks=True)
        return self.folder / name

    def rows(self, run):
        return [json.loads(line) for line in (self.folder / run / "metrics.jsonl").read_text().splitlines()]

    def decisions(self, run):
        """(step, kind, text) of everything that the guard did; seconds differ from run to run."""
        return [(row["step"], row["kind"], row["text"].split("lost")[-1]) for row in self.rows(run)
                if row["record"] == "event" and row["kind"] in ("spike", "skip", "rollback")
                and "course that is given up" not in row["text"]]

    def test_explosion_is_skipped_rolled_back_and_given_up(self):
        self.calm()

        outcome = self.go("calm", "--resume", "auto", code=NUMERICS, **WILD)

        kinds = [kind for _, kind, _ in self.decisions("calm")]
        self.assertEqual(kinds.count("rollback"), 2, kinds)
        self.assertEqual(kinds[:3].count("spike") + kinds[:3].count("skip"), 3, kinds)
        self.assertEqual(kinds[3], "rollback", kinds)
        self.check_refusal(outcome, NUMERICS, ["refused", "2 rollbacks", "guard.max_rollbacks", "learning_rate"])
        self.assertEqual(outcome.err.count("later ones are events"), 1, outcome)
        status = json.loads((self.folder / "calm" / "status.json").read_text())
        self.assertEqual((status["state"], status["exit_code"]), ("failed", NUMERICS))

    def test_metrics_hold_no_row_of_what_was_given_up(self):
        self.calm()

        self.go("calm", "--resume", "auto", code=NUMERICS, **WILD)

        with h5py.File(self.folder / "calm" / "metrics.h5") as file:
            steps = list(file["train/step"][:])
            kinds = [kind.decode() for kind in file["events/kind"][:]]
        self.assertEqual(steps, sorted(set(steps)))
        cuts = [row["step"] for row in self.rows("calm") if row["record"] == "cut"]
        self.assertEqual(cuts, [START] * 3)  # the restart and two rollbacks
        self.assertIn("rollback", kinds)
        passed_over = [step for step, kind, text in self.decisions("calm") if text == "passed over"]
        self.assertFalse(set(steps) & set(passed_over))

    def test_ranks_decide_the_same(self):
        calm = self.calm()
        self.copy(calm, "two")

        self.go("calm", "--resume", "auto", code=NUMERICS, **WILD)
        self.go("two", "--resume", "auto", code=NUMERICS, ranks=2, **WILD)

        self.assertEqual(self.decisions("two"), self.decisions("calm"))

    def test_stopped_among_refused_steps_decides_as_if_it_had_not_been(self):
        calm = self.calm()
        self.copy(calm, "whole")
        self.go("whole", "--resume", "auto", "--stop-after", 18, code=STOPPED, **WILD)
        undisturbed = self.decisions("whole")
        self.assertEqual([kind for _, kind, _ in undisturbed[:4]].count("rollback"), 1)

        for cut in (14, 15, 16):
            name = f"cut{cut}"
            self.copy(calm, name)
            self.go(name, "--resume", "auto", "--stop-after", cut, code=STOPPED, **WILD)
            self.go(name, "--resume", "auto", "--stop-after", 18, code=STOPPED, ranks=2, **WILD)

            self.assertEqual(self.decisions(name), undisturbed)
            self.same(self.folder / name / "latest.h5", self.folder / "whole" / "latest.h5")

    def test_stops_change_no_rollback_where_checkpoints_are_regular(self):
        every = {"checkpoint__interval_steps": 4, "checkpoint__keep_last": 2}
        calm = self.calm(**every)
        self.copy(calm, "whole")
        outcome = self.go("whole", "--resume", "auto", "--stop-after", 18, code=STOPPED, **WILD, **every)
        self.assertIn("back to step 8;", outcome.err)

        for cut in (13, 14, 15, 16):
            name = f"cut{cut}"
            self.copy(calm, name)
            self.go(name, "--resume", "auto", "--stop-after", cut, code=STOPPED, **WILD, **every)
            self.go(name, "--resume", "auto", "--stop-after", 18, code=STOPPED, **WILD, **every)

            self.assertEqual(self.decisions(name), self.decisions("whole"))
            self.same(self.folder / name / "latest.h5", self.folder / "whole" / "latest.h5")

    def test_the_last_good_checkpoint_outlives_saves_among_refused_steps(self):
        # A stop where the rollback is wanted, one before, and a save that is due by steps.
        for cut, values in ((16, {}), (15, {}), (16, {"checkpoint__interval_steps": 15, "guard__max_skips": 4})):
            with self.subTest(cut=cut, **values):
                run = self.calm(f"run {cut} {len(values)}", checkpoint__keep_last=1).name
                wild = {**WILD, "checkpoint__keep_last": 1, **values}
                self.go(run, "--resume", "auto", "--stop-after", cut, code=STOPPED, **wild)

                outcome = self.go(run, "--resume", "auto", "--stop-after", 18, code=STOPPED, **wild)

                self.assertIn(f"back to step {START};", outcome.err)

    def test_without_the_guard_stored_refusals_ask_for_no_rollback(self):
        self.calm()
        self.go("calm", "--resume", "auto", "--stop-after", 16, code=STOPPED, **WILD)

        outcome = self.go("calm", "--resume", "auto", "--stop-after", 17, code=STOPPED, **WILD,
                          guard__enabled="false")

        self.assertNotIn("back to step", outcome.err)
        self.assertEqual((self.folder / "calm" / "latest.h5").resolve().name, "step-00000017.h5")

    def test_link_and_given_up_files_after_rollbacks(self):
        every = {"checkpoint__interval_steps": 1, "checkpoint__keep_last": 2, "checkpoint__keep_every": 4}
        run = self.calm(**every)

        outcome = self.go("calm", "--resume", "auto", code=NUMERICS, **WILD, **every)

        self.assertIn("2 rollbacks", outcome.err)
        self.assertTrue((run / "latest.h5").exists(), sorted(path.name for path in run.iterdir()))
        self.assertEqual(len(list(run.glob("step-*.old-*"))), 2)

    def test_nothing_to_go_back_to(self):
        outcome = self.go("run", code=NUMERICS, train__learning_rate=50, train__lr_warmup_steps=0, guard__window=8,
                          guard__spike_factor=1)

        self.check_refusal(outcome, NUMERICS, ["no good checkpoint", "checkpoint.interval_steps"])

    def test_goes_back_beyond_the_blamed_steps_where_there_are_many_checkpoints(self):
        often = {"checkpoint__interval_steps": 1, "checkpoint__keep_last": 20}
        run = self.calm(**often)

        outcome = self.go("calm", "--resume", "auto", "--stop-after", 17, code=STOPPED, **WILD, **often)

        self.assertIn("back to step 10; steps 11 to 16 are passed over", outcome.err)
        self.assertEqual((run / "latest.h5").resolve().name, "step-00000017.h5")
        steps = sorted(int(path.name[5:13]) for path in run.glob("step-*.h5"))
        self.assertEqual(steps, [*range(1, 17 + 1)])
        with h5py.File(run / "step-00000017.h5") as file:
            self.assertEqual(list(file["state/skipped_packs"][:]), list(range(10 * 4, 16 * 4)))
            self.assertEqual(int(file["state"].attrs["step"]), 17)
            kept = file["model/lm_head"][:]
        with h5py.File(run / "step-00000016.h5") as file, h5py.File(run / "step-00000010.h5") as before:
            self.assertEqual(file["model/lm_head"][:].tobytes(), before["model/lm_head"][:].tobytes())
            self.assertNotEqual(kept.tobytes(), before["model/lm_head"][:].tobytes())

    def test_damaged_checkpoint_is_passed_over_for_an_older_one(self):
        self.go("run", "--stop-after", 8, code=STOPPED, guard__window=8)
        self.go("run", "--resume", "auto", "--stop-after", START, code=STOPPED, guard__window=8)
        run = self.folder / "run"
        self.go("run", "--resume", "auto", "--stop-after", 15, code=STOPPED, **WILD)
        with open(run / "step-00000008.h5", "r+b") as file:
            file.seek(100000)
            file.write(b"\xff" * 8)

        outcome = self.go("run", "--resume", "auto", "--stop-after", 18, code=STOPPED, **WILD)

        self.assertIn("passed over", outcome.err)
        self.assertIn(f"back to step {START}", outcome.err)

    def test_state_digest_of_a_step_is_that_of_its_checkpoint(self):
        for ranks, tensor in ((1, 1), (2, 1), (2, 2)):
            run = f"ranks{ranks}x{tensor}"
            self.go(run, "--stop-after", 6, code=STOPPED, ranks=ranks, parallel__tensor=tensor,
                    guard__digest_interval=2, checkpoint__interval_steps=2)
            digests = {row["step"]: row.get("state_digest") for row in self.rows(run) if row["record"] == "train"}
            self.assertEqual([step for step, digest in digests.items() if digest], [2, 4, 6])
            for step in (2, 4, 6):
                with h5py.File(self.folder / run / f"step-{step:08}.h5") as file:
                    self.assertEqual(f"{int(file['state'].attrs['state_digest']):016x}", digests[step])


if __name__ == "__main__":
    main()
