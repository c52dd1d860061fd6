"""Shards: the same bytes from any number of ranks, readable by h5py and h5dump without this program."""
import hashlib
import json
import subprocess

import h5py
import numpy

from hrm_cli import HrmTest, main, sums, write_jsonl

MASK = 2**64 - 1


def splitmix(x):
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def digest(values):
    """sum-splitmix64 of the data set's elements, in plain Python."""
    return sum(splitmix(int(value) ^ splitmix(i)) for i, value in enumerate(values)) & MASK


def file_digests(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.h5"))}


class PrepareRanks(HrmTest):
    def test_one_two_and_three_ranks_write_the_same_bytes(self):
        rows = sums(700)
        alone, tokenizer = self.shards(rows, "alone")
        others = [self.shards(rows, f"ranks{n}", ranks=n, tokenizer=tokenizer)[0] for n in (2, 3)]

        self.assertIn("corpus.h5", file_digests(alone))
        for other in others:
            self.assertEqual(file_digests(other), file_digests(alone))

    def test_the_same_bytes_again_in_another_folder(self):
        first, tokenizer = self.shards(sums(60), "first")
        write_jsonl(self.folder / "deep" / "first.jsonl", sums(60))

        self.hrm("prepare", "--input", self.folder / "deep" / "first.jsonl", "--tokenizer", tokenizer,
                 "--out", self.folder / "deep" / "shards")

        self.assertEqual(file_digests(self.folder / "deep" / "shards"), file_digests(first))

    def test_h5py_reads_what_the_format_page_promises(self):
        rows = sums(200)
        folder, tokenizer = self.shards(rows)
        vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))
        ids = {token["content"]: token["id"] for token in vocabulary["added_tokens"]}

        with h5py.File(folder / "shard-00000.h5", "r") as shard:
            self.assertEqual(shard.attrs["format"], "hrm-corpus-shard")
            self.assertGreaterEqual(shard.userblock_size, 512)
            self.assertEqual(shard["tokens"].dtype, numpy.uint16)
            self.assertEqual(shard.attrs["n_samples"], len(rows))
            self.assertEqual(shard.attrs["n_tokens"], len(shard["tokens"]))
            self.assertEqual(sorted(name.decode() for name in shard["strata"][:]), ["sums", "words"])
            tokens, start = shard["tokens"][:], shard["index/offset"][:].astype(int)
            prompt = shard["index/instruction_length"][:].astype(int)
            answer = shard["index/response_length"][:].astype(int)
        self.assertEqual(start.tolist(), [0, *numpy.cumsum(prompt + answer)[:-1].tolist()])
        for number, row in enumerate(rows):
            instruction = tokens[start[number]:start[number] + prompt[number]]
            response = tokens[start[number] + prompt[number]:][:answer[number]]
            condition = "<|object_ref_end|>" if row.get("condition") == "cot" else "<|object_ref_start|>"
            self.assertEqual(instruction[[0, 1, -1]].tolist(),
                             [ids["<|im_start|>"], ids[condition], ids["<|im_end|>"]])
            self.assertEqual(response[-1], ids["<|box_end|>"])
        text = self.hrm("tokenizer", "decode", "--tokenizer", tokenizer, "--skip-special", "--ids",
                        " ".join(map(str, tokens[start[1]:start[1] + prompt[1] + answer[1]]))).out
        self.assertEqual(text.rstrip("\n"), rows[1]["instruction"] + rows[1]["response"])

    def test_digests_are_those_of_the_format_page(self):
        folder, _ = self.shards(sums(100))

        with h5py.File(folder / "shard-00000.h5", "r") as shard:
            listed = {row["name"].decode(): int(row["digest"]) for row in shard["integrity"][:]}
            self.assertEqual(list(listed), sorted(listed))
            for name in ("/tokens", "/index/offset", "/index/stratum"):
                self.assertEqual(listed[name], digest(shard[name][:]))

    def test_h5dump_reads_a_shard(self):
        folder, _ = self.shards(sums(20))

        dumped = subprocess.run(["h5dump", "-H", folder / "shard-00000.h5"], capture_output=True, text=True)

        self.assertEqual(dumped.returncode, 0, dumped.stderr)
        self.assertIn("instruction_length", dumped.stdout)

    def test_special_tokens_inside_text_stay_text(self):
        folder, tokenizer = self.shards([{"instruction": "say <|box_end|>", "response": "<|im_end|>"}] * 4)
        vocabulary = json.loads(tokenizer.read_text(encoding="utf-8"))
        ids = {token["content"]: token["id"] for token in vocabulary["added_tokens"]}

        with h5py.File(folder / "shard-00000.h5", "r") as shard:
            tokens = shard["tokens"][:].tolist()

        self.assertEqual(tokens.count(ids["<|box_end|>"]), 4)
        self.assertEqual(tokens.count(ids["<|im_end|>"]), 4)


if __name__ == "__main__":
    main()
