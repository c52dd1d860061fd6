"""hrm generate and hrm eval give the same answers on one rank, on several, and on ranks that share the model."""
import json

from hrm_cli import BAD_CONFIG, HrmTest, main, settings, sums, write_jsonl

PROMPTS = "1 + 2 =\nRepeat: one two\n\nRepeat: four three two one\n77 + 8 =\n"


def losses(result):
    return [result["loss"], *(stratum["loss"] for stratum in result["loss_by_stratum"].values())]


def without_losses(result):
    kept = {key: value for key, value in result.items() if not key.startswith("loss")}
    kept["tokens"] = {name: stratum["tokens"] for name, stratum in result["loss_by_stratum"].items()}
    return kept


class InferRanks(HrmTest):
    def setUp(self):
        super().setUp()
        data, tokenizer = self.shards(sums(600))
        self.held, _ = self.shards(sums(60, seed=8), "held", tokenizer=tokenizer)
        self.train(data, self.folder / "run", train__precision="fp32")
        self.latest = self.folder / "run" / "latest.h5"
        rows = [{"benchmark": "sums", "question": row["instruction"], "answer": row["response"]}
                for row in sums(30, seed=9) if row["source"] == "sums"]
        letters = [{"benchmark": "letters", "question": "Which?", "choices": ["x", "y"], "answer": "A"}] * 3
        self.benchmark = write_jsonl(self.folder / "eval.jsonl", rows + letters)

    def generate(self, *arguments, ranks=None):
        """Answers to PROMPTS from standard input, all numbers of each."""
        return self.hrm("generate", "--checkpoint", self.latest, "--max-tokens", 12, "--threads", 1, "--json",
                        *arguments, ranks=ranks, stdin=PROMPTS).out

    def evaluate(self, ranks=None, **values):
        """(printed object, replies)"""
        replies = self.folder / "replies.jsonl"
        out = self.hrm("eval", "--checkpoint", self.latest, "--benchmark", self.benchmark, "--data", self.held,
                       "--max-tokens", 12, "--threads", 1, "--answers", replies, "--json", *settings(**values),
                       ranks=ranks).out
        return json.loads(out), replies.read_text(encoding="utf-8")

    def test_generate_shares_the_model(self):
        for draw in ((), ("--temperature", 0.8, "--top-p", 0.9, "--seed", 3)):
            alone = self.generate(*draw)
            self.assertEqual(len(alone.splitlines()), 4)  # the empty line is no prompt
            for ranks in (2, 4):
                self.assertEqual(self.generate(*draw, ranks=ranks), alone)

    def test_generate_takes_all_ranks_into_one_group(self):
        self.assertEqual(self.generate(*settings(parallel__tensor=2), ranks=2), self.generate())
        for tensor in (1, 3):
            self.refused(BAD_CONFIG, "generate", "--checkpoint", self.latest, "--prompt", "1 + 2 =",
                         *settings(parallel__tensor=tensor), ranks=2, says=[f"parallel.tensor = {tensor}", "2 ranks"])

    def test_a_size_that_does_not_divide_the_model_is_refused(self):
        for command in (("generate", "--prompt", "1 + 2 ="), ("eval", "--data", self.held)):
            self.refused(BAD_CONFIG, *command, "--checkpoint", self.latest, *settings(parallel__tensor=3), ranks=3,
                         says=["parallel.tensor = 3", "model.num_heads = 4", "1, 2, 4"])

    def test_eval_refuses_a_size_that_does_not_divide_the_ranks(self):
        self.refused(BAD_CONFIG, "eval", "--checkpoint", self.latest, "--data", self.held,
                     *settings(parallel__tensor=2), ranks=3, says=["parallel.tensor = 2", "3 ranks"])

    def test_eval_shares_the_work(self):
        self.assertEqual(self.evaluate(ranks=2), self.evaluate())

    def test_eval_shares_the_model(self):
        alone, replies = self.evaluate()
        self.assertEqual(alone["sums"]["n"], 20)
        for ranks, values in ((2, {"parallel__tensor": 2}), (4, {"parallel__tensor": 2}),
                              (4, {"parallel__tensor": 4, "parallel__sequence": "false"})):
            result, their_replies = self.evaluate(ranks=ranks, **values)

            self.assertEqual(without_losses(result), without_losses(alone))
            self.assertEqual(their_replies, replies)
            # fp32: hundreds of roundings of 6e-8 that do not add up one way.
            for loss, expected in zip(losses(result), losses(alone), strict=True):
                self.assertLess(abs(loss - expected), 1e-5 * expected)


if __name__ == "__main__":
    main()
