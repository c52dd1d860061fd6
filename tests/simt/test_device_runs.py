"""Whole runs on a CUDA device that is the CPU (hrm_simt): the same bits on any number of ranks, close to the host's run,
and checkpoints that go from processor to device and back.
"""
import json
import os
import pathlib
import sys

import h5py

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "cli"))
from hrm_cli import STOPPED, HrmTest, main, settings, sums, write_jsonl  # noqa: E402

# Small enough for kernels that run one thread after another; the horizon rises at steps 2, 3 and 4.
SMALL = {"model__hidden_size": 32, "model__num_heads": 2, "model__layers": 2, "model__intermediate_size": 64,
         "model__max_seq_len": 64, "train__pack_tokens": 96, "train__packs": 4, "train__max_steps": 8,
         "train__lr_warmup_steps": 2, "device__threads": 1, "guard__digest_interval": 3}


class DeviceRuns(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(400))

    def run_on(self, device, name, *arguments, code=0, ranks=None, environment=None, **values):
        folder = self.folder / name
        self.hrm("train", "--config", os.environ["CLI_CONFIG"],
                 *settings(**{**SMALL, "data__path": self.data, "checkpoint__dir": folder, "device__type": device,
                              **values}), *arguments, code=code, ranks=ranks, environment=environment,
                 timeout=500)
        return folder / "step-00000008.h5"

    def losses(self, checkpoint):
        lines = (checkpoint.parent / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        return [row["loss"] for row in rows if "loss" in row and "bp_steps" in row]

    def test_bits_do_not_depend_on_the_layout_of_data_parallel_ranks(self):
        for precision in ("fp32", "bf16"):
            alone = self.run_on("cuda", f"alone {precision}", train__precision=precision)
            for ranks, zero in ((2, 1), (3, 1), (2, 0)):
                self.same(alone, self.run_on("cuda", f"{precision} {ranks} {zero}", ranks=ranks, parallel__zero=zero,
                                             train__precision=precision))

    def test_a_device_trains_as_the_host_does(self):
        host = self.losses(self.run_on("cpu", "host", train__precision="fp32"))
        device = self.losses(self.run_on("cuda", "device", train__precision="fp32"))
        tensor = self.losses(self.run_on("cuda", "tensor", ranks=2, parallel__tensor=2, train__precision="fp32"))

        self.assertEqual(len(host), 8)
        for losses in (device, tensor):
            for one, other in zip(host, losses, strict=True):
                # Eight updates whose sizes atan2 keeps at the learning rate: rounding moves a loss by far less.
                self.assertAlmostEqual(one, other, delta=1e-4 * abs(one))

    def test_a_run_goes_from_host_to_device_and_back(self):
        stopped = ("--stop-after",)
        self.run_on("cpu", "moved", *stopped, 2, code=STOPPED, train__precision="fp32")
        self.run_on("cuda", "moved", "--resume", "auto", *stopped, 5, code=STOPPED, ranks=2, train__precision="fp32")
        moved = self.run_on("cpu", "moved", "--resume", "auto", train__precision="fp32")
        stayed = self.run_on("cpu", "stayed", train__precision="fp32")

        self.hrm("inspect", "--verify", moved)
        for one, other in zip(self.losses(stayed), self.losses(moved), strict=True):
            self.assertAlmostEqual(one, other, delta=1e-4 * abs(one))
        events = (moved.parent / "metrics.jsonl").read_text(encoding="utf-8")
        self.assertIn("not bit-equal", events)

    def test_a_stop_on_the_device_changes_no_bit(self):
        self.run_on("cuda", "stopped", "--stop-after", 3, code=STOPPED, train__precision="bf16")
        resumed = self.run_on("cuda", "stopped", "--resume", "auto", ranks=2, train__precision="bf16")

        self.same(self.run_on("cuda", "straight", train__precision="bf16"), resumed)

    def test_a_resumed_run_goes_on_with_the_stored_products(self):
        def products(name, given, *arguments, **options):
            file = self.run_on("cuda", name, *arguments, environment={"HRM_SIMT_PRODUCTS": given}, **options)
            with h5py.File(file.parent / "latest.h5") as checkpoint:
                return checkpoint["/state/products"][()].decode()

        self.assertEqual(products("run", "the first's", "--stop-after", 2, code=STOPPED), "the first's")
        self.assertEqual(products("run", "the second's", "--resume", "auto", ranks=2), "the first's")
        self.assertEqual(products("other", "the second's", ranks=2), "the second's")

    def test_saves_in_the_background_hold_the_state_of_their_step(self):
        # Writes that take longer than a step: the copy of one save may not be made anew while it is written.
        slow = {"LD_PRELOAD": os.environ["CLI_FILE_CALLS"], "FILE_CALLS_FOLDER": str(self.folder),
                "FILE_CALLS_SLEEP_WRITE": "8"}
        saved = self.run_on("cuda", "saved", environment=slow, train__precision="bf16", checkpoint__interval_steps=1,
                            train__log_interval=1, checkpoint__keep_last=8, guard__digest_interval=1)

        self.same(self.run_on("cuda", "unsaved", train__precision="bf16"), saved)
        rows = list(map(json.loads, (saved.parent / "metrics.jsonl").read_text(encoding="utf-8").splitlines()))
        expected = {row["step"]: row["state_digest"] for row in rows if "state_digest" in row}
        written = {row["step"]: row["text"] for row in rows if row.get("kind") == "checkpoint"}
        self.assertEqual(written.keys(), expected.keys())
        for step, text in written.items():
            self.assertIn(f"state digest {expected[step]}", text)

    def test_a_device_says_what_the_host_says(self):
        rows = [{"benchmark": "sums", "question": row["instruction"], "answer": row["response"]} for row in sums(12)]
        benchmark = write_jsonl(self.folder / "eval.jsonl", rows)
        checkpoint = self.run_on("cuda", "asked", train__precision="fp32", eval__benchmark=benchmark)
        lines = (checkpoint.parent / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        inside = next(row for row in map(json.loads, lines) if row.get("record") == "eval")

        def asked(device):
            words = ["--checkpoint", checkpoint, *settings(device__type=device), "--max-tokens", 8]
            answers = self.folder / f"answers {device}"
            score = self.hrm("eval", *words, "--benchmark", benchmark, "--answers", answers, "--data", self.data,
                             "--json", timeout=500).out
            drawn = self.hrm("generate", *words, "--prompt", "47 + 38 =", "--temperature", 1, "--json").out
            return json.loads(score), answers.read_text(encoding="utf-8"), drawn

        score, answers, drawn = asked("cuda")
        host_score, host_answers, host_drawn = asked("cpu")
        self.assertEqual(answers, host_answers)
        self.assertEqual(drawn, host_drawn)
        self.assertEqual(score["sums"], host_score["sums"])
        self.assertAlmostEqual(score["loss"], host_score["loss"], delta=1e-4 * host_score["loss"])
        self.assertEqual(inside["n"], 12)
        self.assertTrue(any(json.loads(line)["reply"] for line in answers.splitlines()))


if __name__ == "__main__":
    main()
