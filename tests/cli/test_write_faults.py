"""Disks that refuse single writes or all: whatever was not written is told, nothing wrong gets its final name, and the
program ends by itself. A preloaded library fails the writes.
"""
import json
import os

from hrm_cli import TINY, HrmTest, main, run_hrm, settings, sums, write_jsonl

IO_ERROR = 74
LIBRARY = os.environ["CLI_FILE_CALLS"]
STEPS = (1, 2)


class WriteFaults(HrmTest):
    def setUp(self):
        super().setUp()
        self.corpus = write_jsonl(self.folder / "corpus.jsonl", sums(400))
        self.vocabulary = self.tokenizer(self.corpus, vocabulary=300)

    def watching(self, folder, **values):
        """The environment in which the library watches `folder`."""
        return {"LD_PRELOAD": LIBRARY, "FILE_CALLS_FOLDER": str(folder.resolve()),
                **{f"FILE_CALLS_{name}": str(value) for name, value in values.items()}}

    def prepare(self, name, **faults):
        out = self.folder / name
        return out, run_hrm("prepare", "--input", self.corpus, "--tokenizer", self.vocabulary, "--out", out,
                            environment=self.watching(out, **faults))

    def run_tiny(self, data, name, **faults):
        run = self.folder / name
        chosen = settings(data__path=data, checkpoint__dir=run, device__threads=1, train__max_steps=len(STEPS),
                          train__lr_warmup_steps=0, checkpoint__interval_steps=1)
        return run, run_hrm("train", "--config", TINY, *chosen, environment=self.watching(run, **faults))

    def failed_steps(self, run):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return {row["step"] for row in rows if row["record"] == "event" and row["kind"] == "save_failed"}

    def test_prepare_tells_of_every_write_that_fails(self):
        log = self.folder / "calls"
        good, outcome = self.prepare("good", LOG=log)
        self.assertEqual(outcome.code, 0, outcome)
        writes = [line for line in log.read_text().splitlines() if line.split("\t")[2] == "write"]
        self.assertGreater(len(writes), 5)

        for at in range(1, len(writes) + 1, 3):
            with self.subTest(at=at):
                out, outcome = self.prepare(f"faulty-{at}", FAIL_NAME="", FAIL_AT=at, FAIL_COUNT=1)
                self.check_refusal(outcome, IO_ERROR, says=["cannot write"])
                self.assert_nothing_in(out)
        self.hrm("inspect", "--verify", *sorted(good.glob("*.h5")))

    def test_a_checkpoint_is_right_or_its_save_is_told(self):
        data, outcome = self.prepare("data")
        self.assertEqual(outcome.code, 0, outcome)
        good, outcome = self.run_tiny(data, "good")
        self.assertEqual(outcome.code, 0, outcome)
        for at, count in ((1, 1), (2, 1), (3, 1), (6, 1), (2, 20)):
            with self.subTest(at=at, count=count):
                run, outcome = self.run_tiny(data, f"faulty-{at}-{count}", FAIL_NAME="step-", FAIL_AT=at,
                                             FAIL_COUNT=count)
                self.assertIn(outcome.code, (0, IO_ERROR), outcome)
                failed = self.failed_steps(run)
                self.assertTrue(failed or outcome.code, outcome)
                for step in STEPS:
                    name = f"step-{step:08}.h5"
                    if (run / name).exists():
                        self.same(good / name, run / name)
                    elif outcome.code == 0:
                        self.assertIn(step, failed, outcome)

    def test_metrics_that_cannot_be_written_wait(self):
        data, outcome = self.prepare("data")
        self.assertEqual(outcome.code, 0, outcome)

        run, outcome = self.run_tiny(data, "run", FAIL_NAME="metrics.h5", FAIL_AT=2, FAIL_COUNT=1000)

        self.assertEqual(outcome.code, 0, outcome)
        self.assertIn("its records wait", outcome.err)
        self.assertFalse((run / "metrics.h5").exists())
        self.hrm("inspect", "--verify", run / "latest.h5")


if __name__ == "__main__":
    main()
