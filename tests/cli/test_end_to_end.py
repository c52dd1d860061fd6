"""Text in, a trained, restarted and evaluated HRM out: the commands of README.md in small."""
import json

import h5py
import numpy

from hrm_cli import STOPPED, HrmTest, main, sums, write_jsonl


class EndToEnd(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, self.tok = self.shards(sums(1500), ranks=2)
        self.held, _ = self.shards(sums(60, seed=8), "held", tokenizer=self.tok)
        self.run_folder = self.folder / "run"
        self.latest = self.run_folder / "latest.h5"
        self.train(self.data, self.run_folder, "--stop-after", 15, ranks=2, code=STOPPED, eval__path=self.held)

    def finish(self):
        self.train(self.data, self.run_folder, "--resume", "auto", ranks=2, eval__path=self.held)

    def status(self):
        return json.loads((self.run_folder / "status.json").read_text(encoding="utf-8"))

    def test_stopped_run_says_so_and_goes_on(self):
        stopped = self.status()
        self.finish()
        finished = self.status()

        self.assertEqual([stopped[key] for key in ("state", "exit_code", "step", "planned_steps")], ["stopped", 75, 15, 40])
        self.assertEqual([finished[key] for key in ("state", "exit_code", "step")], ["finished", 0, 40])
        self.assertEqual(self.latest.resolve().name, "step-00000040.h5")

    def test_run_folder_opens_in_h5py(self):
        self.finish()

        with h5py.File(self.latest, "r") as checkpoint:
            self.assertEqual(checkpoint.attrs["format"], "hrm-checkpoint")
            self.assertEqual(checkpoint["model/L.layers.0.gqkv"].shape, (256, 64))
            self.assertEqual(checkpoint["model/zL_init"].shape, (64,))
            self.assertEqual(sorted(checkpoint["ema"]), sorted(set(checkpoint["model"]) - {"zL_init"}))
            self.assertEqual(checkpoint["optimizer/exp_avg/embed_tokens"].attrs["step"], 34)
            self.assertEqual(checkpoint["state"].attrs["step"], 40)
            self.assertIn("merges", checkpoint["tokenizer"][()].decode())
        with h5py.File(self.run_folder / "metrics.h5", "r") as metrics:
            self.assertEqual(metrics["train/step"][:].tolist(), list(range(1, 41)))
            self.assertTrue(numpy.isfinite(metrics["train/loss"][:]).all())

    def test_inspect_verifies_and_describes(self):
        self.hrm("inspect", self.latest, "--verify")
        described = json.loads(self.hrm("inspect", self.latest, "--json").out)
        shard = self.hrm("inspect", self.data / "shard-00000.h5", "--verify")

        self.assertIn("15", json.dumps(described))
        self.assertIn("shard", shard.out)

    def test_eval_scores_benchmarks_and_loss(self):
        rows = [{"benchmark": "sums", "question": row["instruction"], "answer": row["response"]}
                for row in sums(30, seed=9) if row["source"] == "sums"]
        letters = [{"benchmark": "letters", "question": "Which?", "choices": ["x", "y"], "answer": "A"}] * 3
        benchmark = write_jsonl(self.folder / "eval.jsonl", rows + letters)

        result = json.loads(self.hrm("eval", "--checkpoint", self.latest, "--benchmark", benchmark, "--json").out)

        text = json.dumps(result)
        for name in ("sums", "letters", "n", "correct", "score", "invalid"):
            self.assertIn(f'"{name}"', text)

    def test_generate_answers_alone_and_from_raw_weights(self):
        for weights in ("ema", "raw"):
            outcome = self.hrm("generate", "--checkpoint", self.latest, "--condition", "direct",
                               "--prompt", "1 + 2 =", "--weights", weights)
            self.assertEqual(outcome.code, 0)

    def test_print_config_names_the_origin_of_each_value(self):
        outcome = self.train(self.data, self.folder / "other", "--print-config", train__packs=2)

        self.assertRegex(outcome.out, r"(?m)packs\s*=\s*2\b.*--set")
        self.assertRegex(outcome.out, r"(?m)hidden_size\s*=\s*64\b.*tiny\.cfg")
        self.assertFalse((self.folder / "other").exists())

    def test_dry_run_writes_nothing(self):
        self.train(self.data, self.folder / "other", "--dry-run", "--ranks", 3)

        self.assertFalse((self.folder / "other").exists())


if __name__ == "__main__":
    main()
