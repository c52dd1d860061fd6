"""The demo's corpus: answers are right, no held-out problem is in training in any wording, bytes repeat."""
import json
import pathlib
import random
import re
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "validation"))
import demo_corpus
import sudoku4
import wordnet

DATA = {
    "noun": "  1 licence text\n"
            "00000001 03 n 01 thing 0 000 | that which is; \"a thing\"\n"
            "00000002 03 n 02 house_cat 0 tom 1 001 @ 00000001 n 0000 | an animal that purrs\n",
    "verb": "00000003 29 v 02 sigh 0 suspire 4 000 01 + 02 00 | utter a sigh; breathe deeply; \"She sighed\"\n",
    "adj": "00000004 00 a 01 afraid(p) 0 000 | filled with fear\n",
    "adv": "00000005 02 r 01 slowly 0 000 | without speed\n"}


def wordnet_folder():
    folder = tempfile.TemporaryDirectory()
    for part, text in DATA.items():
        (pathlib.Path(folder.name) / f"data.{part}").write_text(text, encoding="utf-8")
    return folder


def corpus():
    """{file name: bytes} of a small corpus."""
    with wordnet_folder() as words, tempfile.TemporaryDirectory() as out:
        demo_corpus.write_corpus(demo_corpus.parse(["--out", out, "--wordnet", words, "--puzzles", "300"]))
        return {path.name: path.read_bytes() for path in pathlib.Path(out).iterdir()}


def rows(data):
    return [json.loads(line) for line in data.decode().splitlines()]


def fact_family(text, answer):
    """The unordered pair whose sum the problem is about, read from prompt and answer alone."""
    a, sign, b = re.fullmatch(r"(\d+) ([+-]) (\d+) =", text).groups()
    return tuple(sorted((int(a), int(b)) if sign == "+" else (int(b), int(answer))))


class DemoCorpus(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.files = corpus()
        cls.train = rows(cls.files["train.jsonl"])
        cls.eval = rows(cls.files["eval.jsonl"])
        cls.heldout = rows(cls.files["heldout.jsonl"])

    def arithmetic(self):
        return [row for row in self.train + self.heldout if row["source"].startswith("arithmetic/")]

    def test_same_bytes_again(self):
        self.assertEqual(self.files, corpus())

    def test_sums_and_differences_are_right(self):
        wrong = [row for row in self.arithmetic()
                 if str(eval(row["instruction"].rstrip(" ="))) != row["response"]]  # digits, blank and sign only
        self.assertEqual(wrong, [])

    def test_prompts_hold_the_problem_alone(self):
        for row in self.arithmetic():
            self.assertRegex(row["instruction"], r"^(0|[1-9]\d*) [+-] (0|[1-9]\d*) =$")

    def test_no_fact_family_is_on_both_sides(self):
        train = {fact_family(row["instruction"], row["response"])
                 for row in self.train if row["source"].startswith("arithmetic/")}
        held = {fact_family(row["question"], row["answer"])
                for row in self.eval if row["benchmark"][:3] in ("add", "sub")}
        self.assertEqual(train & held, set())

    def test_enough_two_digit_problems_are_held_out(self):
        for benchmark in ("add2", "sub2"):
            self.assertGreaterEqual(sum(row["benchmark"] == benchmark for row in self.eval), 500)

    def test_no_puzzle_is_in_training_in_any_symmetric_form(self):
        def form(text):
            return sudoku4.canonical(text.removeprefix("Sudoku ").replace(" ", ""))
        train = {form(row["instruction"]) for row in self.train if row["source"] == "sudoku4"}
        held = {form(row["question"]) for row in self.eval if row["benchmark"] == "sudoku4"}
        self.assertTrue(held)
        self.assertEqual(train & held, set())

    def test_no_held_out_solution_is_in_training_with_digits_renamed(self):
        train = {sudoku4.renamed(row["response"].replace(" ", ""))
                 for row in self.train if row["source"] == "sudoku4"}
        held = {sudoku4.renamed(row["answer"].replace(" ", ""))
                for row in self.eval if row["benchmark"] == "sudoku4"}
        self.assertEqual(train & held, set())

    def test_no_held_out_question_is_in_training(self):
        train = {row["instruction"] for row in self.train}
        held = {row["question"] for row in self.eval} | {row["instruction"] for row in self.heldout}
        self.assertEqual(train & held, set())


class Split(unittest.TestCase):
    def test_question_of_a_held_out_problem_is_dropped_from_training(self):
        row = demo_corpus.sample("Define the noun \"bank\".", "a slope", "wordnet/definition")
        other = demo_corpus.sample("Define the noun \"bank\".", "an institution", "wordnet/definition")

        train, held_out = demo_corpus.split([(row, True), (other, False)])

        self.assertEqual((train, held_out), ([], {"wordnet/definition": [row]}))


class WordNet(unittest.TestCase):
    def test_fields_of_the_database_files(self):
        with wordnet_folder() as folder:
            synsets = wordnet.read_synsets(folder)

        self.assertEqual([synset.words for synset in synsets],
                         [["thing"], ["house cat", "tom"], ["sigh", "suspire"], ["afraid"], ["slowly"]])
        self.assertEqual(synsets[1].hypernym, "thing")
        self.assertEqual(synsets[2].definition, "utter a sigh; breathe deeply")

    def test_all_questions_about_a_definition_go_the_same_way(self):
        with wordnet_folder() as folder:
            synsets = wordnet.read_synsets(folder)

        for synset in synsets:
            self.assertEqual(len({out for _, out in demo_corpus.wordnet_rows([synset])}), 1)


class Sudoku(unittest.TestCase):
    def test_there_are_288_grids_in_12_classes(self):
        self.assertEqual(len(sudoku4.full_grids()), 288)
        self.assertEqual(len({sudoku4.renamed(grid) for grid in sudoku4.full_grids()}), 12)

    def test_two_classes_remain_under_all_symmetries(self):
        self.assertEqual(len({sudoku4.canonical(grid) for grid in sudoku4.full_grids()}), 2)

    def test_puzzles_have_their_solution_and_no_other(self):
        for seed in range(20):
            puzzle, solution = sudoku4.random_puzzle(random.Random(seed))
            fitting = [grid for grid in sudoku4.full_grids()
                       if all(a in ("0", b) for a, b in zip(puzzle, grid))]
            self.assertEqual(fitting, [solution])


if __name__ == "__main__":
    unittest.main()
