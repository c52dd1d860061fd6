"""Which rows of a journal the chaos test compares."""
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "validation"))
from chaos import journal


def train(step, loss):
    return {"record": "train", "step": step, "loss": loss}


class Journal(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)

    def losses(self, *rows, torn=""):
        (self.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + torn,
                                                   encoding="utf-8")
        place = journal.NUMBERS.index("loss")
        return [(row[0], row[place]) for row in journal.curve(self.folder)]

    def test_steps_made_again_count_once(self):
        rows = [train(1, 5.0), train(2, 4.0), train(3, 3.0), {"record": "cut", "step": 1}, train(2, 4.5)]

        self.assertEqual(self.losses(*rows), [(1, 5.0), (2, 4.5)])

    def test_torn_last_line_is_left_out(self):
        self.assertEqual(self.losses(train(1, 5.0), torn='{"record":"tr'), [(1, 5.0)])

    def test_no_journal_yet_has_no_rows(self):
        self.assertEqual(journal.curve(self.folder), [])


if __name__ == "__main__":
    unittest.main()
