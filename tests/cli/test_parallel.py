"""One run on any layout: data ranks with shares of any size, tensor groups, replicated or sharded state, with and
without overlap; stopped on one layout and resumed on another.

30 steps of configs/tiny.cfg with 12 packs of uneven content.
"""
import json

from hrm_cli import BAD_CONFIG, STOPPED, HrmTest, main, sums

STEPS = 30
PACKS = {"train__packs": 12, "train__pack_tokens": 256, "train__max_steps": STEPS}


class Layouts(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(1500))

    def run_on(self, name, ranks, *options, code=0, **values):
        self.train(self.data, self.folder / name, *options, ranks=ranks, code=code, **{**PACKS, **values})
        return self.folder / name / f"step-{STEPS:08}.h5"

    def rows(self, name):
        lines = (self.folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def curve(self, name):
        """Loss, accuracies and norm of every step."""
        return [[row[key] for key in ("step", "loss", "accuracy", "exact_accuracy", "gradient_norm")]
                for row in self.rows(name) if row["record"] == "train"]

    def check_data_parallel(self, precision):
        values = {"train__precision": precision}
        first = self.run_on("1", 1, "--allow-single", **values)
        for ranks in (2, 3, 4):
            self.same(first, self.run_on(str(ranks), ranks, **values))
            self.assertEqual(self.curve("1"), self.curve(str(ranks)))
        self.run_on("elastic", 4, "--stop-after", 10, code=STOPPED, **values)
        self.run_on("elastic", 3, "--resume", "auto", "--stop-after", 20, code=STOPPED, **values)
        self.same(first, self.run_on("elastic", 1, "--resume", "auto", "--allow-single", **values))
        self.assertEqual(self.curve("1"), self.curve("elastic"))
        layouts = [row["text"] for row in self.rows("elastic") if row.get("kind") == "layout"]
        self.assertEqual(layouts, ["was data 4 x tensor 1, is data 3 x tensor 1: bit-equal",
                                   "was data 3 x tensor 1, is data 1 x tensor 1: bit-equal"])

    def test_fp32(self):
        self.check_data_parallel("fp32")

    def test_bf16(self):
        self.check_data_parallel("bf16")

    def test_overlap_and_replicated_state_change_no_bit(self):
        first = self.run_on("plain", 3)
        self.same(first, self.run_on("replicated", 3, parallel__zero=0))
        self.same(first, self.run_on("waiting", 3, parallel__overlap="false"))

    def test_ranks_that_own_nothing_take_part(self):
        small = {"model__hidden_size": 16, "model__num_heads": 2, "model__layers": 2, "train__max_steps": 4, "train__lr_warmup_steps": 0,
                 "model__intermediate_multiple": 8, "model__vocab_multiple": 8, "train__ema": 0, "train__beta1": 0}
        files = []
        for ranks in (1, 8):
            self.run_on(f"own {ranks}", ranks, "--allow-single", **small)
            files.append(self.folder / f"own {ranks}" / "step-00000004.h5")
        self.same(*files)

    def losses(self, name):
        return [row[1] for row in self.curve(name)]

    def check_close(self, name, other):
        for a, b in zip(self.losses(name), self.losses(other), strict=True):
            self.assertAlmostEqual(a, b, delta=1e-3 * a)

    def test_tensor_groups_train_the_same_model(self):
        values = {"train__precision": "fp32"}
        self.run_on("serial", 1, "--allow-single", **values)
        two = self.run_on("2x2", 4, parallel__tensor=2, **values)
        self.check_close("serial", "2x2")
        # The same tensor size is the same bits, whatever the data ranks and the state's layout.
        self.same(two, self.run_on("1x2", 2, parallel__tensor=2, parallel__zero=0, **values))
        self.run_on("1x4", 4, parallel__tensor=4, parallel__sequence="false", **values)
        self.check_close("serial", "1x4")

    def test_resumes_across_tensor_sizes_and_says_so(self):
        values = {"train__precision": "fp32"}
        self.run_on("serial", 1, "--allow-single", **values)
        self.run_on("moved", 4, "--stop-after", 10, code=STOPPED, parallel__tensor=2, **values)
        self.run_on("moved", 3, "--resume", "auto", **values)

        self.check_close("serial", "moved")
        layouts = [row["text"] for row in self.rows("moved") if row.get("kind") == "layout"]
        self.assertEqual(layouts, ["was data 2 x tensor 2, is data 3 x tensor 1: not bit-equal"])

    def test_the_librarys_order_of_sums_is_close_and_an_event(self):
        values = {"train__precision": "fp32"}
        self.run_on("exact", 2, **values)
        self.run_on("free", 3, "--stop-after", 10, code=STOPPED, train__deterministic="false", **values)
        self.run_on("free", 3, "--resume", "auto", **values)

        self.check_close("exact", "free")
        self.assertIn("not bit-equal", " ".join(row["text"] for row in self.rows("free") if row.get("kind") == "layout"))
        self.run_on("freer", 3, "--stop-after", 10, code=STOPPED, train__deterministic="false", **values)
        self.run_on("freer", 2, "--resume", "auto", train__deterministic="false", **values)
        layouts = [row["text"] for row in self.rows("freer") if row.get("kind") == "layout"]
        self.assertEqual(layouts, ["was data 3 x tensor 1, is data 2 x tensor 1; train.deterministic is false, so no "
                                   "start repeats another's bits: not bit-equal"])

    def test_wrong_layouts_get_one_message(self):
        for ranks, values, words in (
                (3, {"parallel__tensor": 2}, "parallel.tensor = 2 does not divide the 3 ranks"),
                (3, {"parallel__tensor": 3}, "1, 2, 4"),
                (3, {"train__packs": 2}, "share 2 packs"),
                (2, {"device__type": "cuda"}, "device.type")):
            with self.subTest(values=values):
                outcome = self.train(self.data, self.folder / "wrong", ranks=ranks, code=BAD_CONFIG,
                                     **{**PACKS, **values})
                self.assertEqual(len(outcome.errors()), 1, outcome)
                self.assertIn(words, outcome.errors()[0])


if __name__ == "__main__":
    main()
