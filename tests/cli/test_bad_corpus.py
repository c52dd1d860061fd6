"""Bad text for hrm prepare: one message, the right code, nothing half-written."""
import json

from hrm_cli import BAD_DATA, CANNOT_CREATE, NO_INPUT, USAGE, HrmTest, main, sums, write_jsonl

GOOD = json.dumps({"instruction": "1 + 1 =", "response": "2"}).encode()


class BadCorpus(HrmTest):
    def setUp(self):
        super().setUp()
        self.tok = self.tokenizer(write_jsonl(self.folder / "good.jsonl", sums(50)), 300)
        self.out = self.folder / "shards"

    def prepare(self, code, *lines, says, options=(), ranks=None):
        path = self.folder / "bad.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        self.refused(code, "prepare", "--input", path, "--tokenizer", self.tok, "--out", self.out, *options,
                     ranks=ranks, says=says)
        self.assert_nothing_in(self.out)

    def test_malformed_line(self):
        self.prepare(BAD_DATA, GOOD, b'{"instruction": "a", ', says=["bad.jsonl:2"])

    def test_malformed_line_on_three_ranks(self):
        self.prepare(BAD_DATA, *[GOOD] * 40, b'{"instruction": "a", ', *[GOOD] * 5, says=["bad.jsonl:41"], ranks=3)

    def test_missing_field(self):
        self.prepare(BAD_DATA, GOOD, GOOD, b'{"instruction": "a"}', says=["bad.jsonl:3", "response"])

    def test_invalid_utf8(self):
        self.prepare(BAD_DATA, b'{"instruction": "a\xff", "response": "b"}', says=["bad.jsonl:1", "UTF-8"])

    def test_unknown_condition(self):
        self.prepare(BAD_DATA, b'{"instruction": "a", "response": "b", "condition": "direkt"}',
                     says=["bad.jsonl:1", "direkt"])

    def test_empty_response(self):
        self.prepare(BAD_DATA, GOOD, b'{"instruction": "a", "response": ""}', says=["bad.jsonl:2", "response"])

    def test_overlong_sample(self):
        long = json.dumps({"instruction": "a", "response": "1 2 3 4 5 6 7 8 9 10 11 12"}).encode()

        self.prepare(BAD_DATA, GOOD, long, says=["bad.jsonl:2"], options=("--overlong", "error", "--context", 16))

    def test_bad_lines_are_counted_and_skipped_on_request(self):
        path = self.folder / "mixed.jsonl"
        path.write_bytes(GOOD + b"\nnot json\n" + GOOD + b"\n")

        outcome = self.hrm("prepare", "--input", path, "--tokenizer", self.tok, "--out", self.out, "--skip-bad")

        self.assertRegex(outcome.out + outcome.err, r"\b1\b")
        self.assertTrue((self.out / "corpus.h5").exists())

    def test_missing_input(self):
        missing = self.folder / "nowhere.jsonl"

        self.refused(NO_INPUT, "prepare", "--input", missing, "--tokenizer", self.tok, "--out", self.out,
                     says=["nowhere.jsonl"])
        self.assert_nothing_in(self.out)

    def test_missing_tokenizer(self):
        self.refused(NO_INPUT, "prepare", "--input", self.folder / "good.jsonl", "--tokenizer", self.folder / "no.json",
                     "--out", self.out, says=["no.json"])

    def test_tokenizer_without_special_tokens(self):
        plain = self.folder / "plain.json"
        self.hrm("tokenizer", "train", "--input", self.folder / "good.jsonl", "--vocab-size", 300, "--no-special",
                 "--out", plain)

        self.refused(BAD_DATA, "prepare", "--input", self.folder / "good.jsonl", "--tokenizer", plain,
                     "--out", self.out, says=["plain.json"])
        self.assert_nothing_in(self.out)

    def test_damaged_tokenizer_file(self):
        broken = self.folder / "broken.json"
        broken.write_bytes(self.tok.read_bytes()[:500])

        self.refused(BAD_DATA, "prepare", "--input", self.folder / "good.jsonl", "--tokenizer", broken,
                     "--out", self.out, says=["broken.json"])

    def test_words_that_are_no_ids(self):
        ids = self.folder / "ids.txt"
        ids.write_text("6 foo", encoding="utf-8")

        self.refused(USAGE, "tokenizer", "decode", "--tokenizer", self.tok, "--ids", "6 foo", says=["--ids", "foo"])
        self.refused(BAD_DATA, "tokenizer", "decode", "--tokenizer", self.tok, "--input", ids, says=["ids.txt", "foo"])

    def test_folder_that_holds_a_corpus(self):
        call = ("prepare", "--input", self.folder / "good.jsonl", "--tokenizer", self.tok, "--out", self.out)
        self.hrm(*call)

        self.refused(CANNOT_CREATE, *call, says=["shards", "--replace"])
        self.hrm(*call, "--replace")

    def test_folder_that_cannot_be_made(self):
        (self.folder / "file").write_text("in the way", encoding="utf-8")

        self.refused(CANNOT_CREATE, "prepare", "--input", self.folder / "good.jsonl", "--tokenizer", self.tok,
                     "--out", self.folder / "file" / "shards", says=["file"])


if __name__ == "__main__":
    main()
