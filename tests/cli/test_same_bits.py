"""The same run, bit for bit, on any number of ranks and threads, straight or stopped and resumed.

40 steps of configs/tiny.cfg on a small corpus: the backward horizon rises in steps 7, 14 and 20, the embedding gets its
first gradient in step 7, and epochs end on the way.
"""
import json

from hrm_cli import STOPPED, HrmTest, main, sums


class SameBits(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(1500))

    def straight(self, name, precision, ranks=None, threads=1):
        self.train(self.data, self.folder / name, ranks=ranks, threads=threads, train__precision=precision)
        return self.folder / name / "step-00000040.h5"

    def resumed(self, name, precision):
        folder = self.folder / name
        self.train(self.data, folder, "--stop-after", 15, ranks=2, code=STOPPED, train__precision=precision)
        self.train(self.data, folder, "--resume", "auto", ranks=3, threads=3, train__precision=precision)
        return folder / "step-00000040.h5"

    def check_all(self, precision):
        first = self.straight("alone", precision)
        for ranks in (2, 3):
            self.same(first, self.straight(f"ranks{ranks}", precision, ranks))
        for threads in (3, 8):
            self.same(first, self.straight(f"threads{threads}", precision, None, threads))
        self.same(first, self.resumed("resumed", precision))

    def test_fp32(self):
        self.check_all("fp32")

    def test_bf16(self):
        self.check_all("bf16")

    def test_the_run_crosses_what_it_is_meant_to_cross(self):
        self.straight("alone", "fp32")
        lines = (self.folder / "alone" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        steps = {row["step"]: row for row in rows if "loss" in row and "bp_steps" in row}

        self.assertEqual(sorted(steps), list(range(1, 41)))
        self.assertEqual([steps[step]["bp_steps"] for step in (6, 7, 14, 20)], [2, 3, 4, 5])
        self.assertGreaterEqual(steps[40]["epoch"] - steps[1]["epoch"], 1)
        self.assertLess(steps[40]["loss"], steps[1]["loss"])

    def test_another_seed_is_another_run(self):
        first = self.straight("alone", "fp32")
        self.train(self.data, self.folder / "other", train__precision="fp32", train__seed=1)

        outcome = self.hrm("inspect", "--diff", first, self.folder / "other" / "step-00000040.h5", code=1)

        self.assertIn("embed_tokens", outcome.out)


if __name__ == "__main__":
    main()
