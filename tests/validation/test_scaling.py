"""Scaling studies on metrics files made by hand: numbers, verdicts, what is missing, the forms of the table."""
import contextlib
import csv
import io
import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import h5py
import numpy

VALIDATION = pathlib.Path(__file__).resolve().parents[2] / "validation"
sys.path.insert(0, str(VALIDATION))
from scaling import gather, launch, study, svg
from scaling.statistics import median, percentile, share

STUDY = {"format": "hrm-scaling-study", "format_version": 1, "hrm": "hrm", "config": ["a b.cfg"], "data": "shards",
         "set": [], "modes": ["strong", "weak"], "ranks": [1, 2], "packs": 4, "steps": 4, "warmup": 1,
         "check_steps": 2, "repeats": 1, "tensor": 1, "threads": 1, "ranks_per_node": 0}
STRONG_LOSS = [6.0, 5.0, 4.0, 3.1]
WEAK_LOSS = [6.5, 5.5, 4.5, 3.5]


def write_metrics(folder, loss, seconds, rate, communication=0.0, data=0.0):
    folder.mkdir(parents=True)
    columns = {"loss": loss, "seconds": seconds, "tokens_per_second": rate,
               "seconds_communication": [communication] * len(loss), "seconds_data": [data] * len(loss)}
    with h5py.File(folder / "metrics.h5", "w") as file:
        file.attrs["created_by"] = "hrm 0 (test)"
        file["jobs/hosts"] = [b"node1"]
        file["train/step"] = numpy.arange(1, len(loss) + 1)
        for name, values in columns.items():
            file[f"train/{name}"] = numpy.array(values, numpy.float64)


def next_bit(value):
    return float(numpy.nextafter(value, math.inf))


class Statistics(unittest.TestCase):
    def test_percentiles_are_linear_between_neighbours(self):
        self.assertEqual(percentile([40, 10, 20, 30], 50), 25)
        self.assertAlmostEqual(percentile([10, 20, 30, 40], 5), 11.5)
        self.assertEqual(median([7]), 7)
        self.assertTrue(math.isnan(median([])))

    def test_percentiles_are_numpys(self):
        values = numpy.random.default_rng(1).random(17)
        for percent in (0, 5, 33, 50, 95, 100):
            self.assertAlmostEqual(percentile(values, percent), numpy.percentile(values, percent), delta=1e-15)

    def test_share_is_of_sums(self):
        self.assertEqual(share([1, 2], [4, 8]), 0.25)


class Plan(unittest.TestCase):
    def test_weak_batches_grow_with_the_ranks_and_are_checked_at_the_smallest_count(self):
        runs = {run.name: (run.ranks, run.packs) for run in study.runs(STUDY)}

        self.assertEqual(runs, {"strong-00001-1": (1, 4), "strong-00002-1": (2, 4), "weak-00001-1": (1, 4),
                                "weak-00002-1": (2, 8), "check-00002-1": (1, 8)})

    def test_the_smallest_weak_batch_is_the_strong_one(self):
        weak = {ranks: study.weak_packs({**STUDY, "ranks": [2, 4, 6]}, ranks) for ranks in (2, 4, 6)}

        self.assertEqual(weak, {2: 4, 4: 8, 6: 12})

    def test_a_check_stops_early_in_the_same_schedule(self):
        command = study.train_command(STUDY, study.reference(STUDY, "weak", 2), "run folder")

        self.assertEqual(command[-2:], ["--stop-after", "2"])
        self.assertIn("train.max_steps=4", command)
        self.assertIn("checkpoint.dir=run folder", command)

    def test_counts_that_cannot_be_measured_are_refused(self):
        for change in ({"tensor": 2}, {"ranks": [2, 3], "packs": 5}, {"modes": ["strong"], "ranks": [1, 8]},
                       {"warmup": 4}, {"check_steps": 4}):
            with self.subTest(change), self.assertRaises(study.StudyError):
                study.check({**STUDY, **change})

    def test_nodes_follow_from_ranks_per_node(self):
        words = launch.launcher_words("srun", {**STUDY, "ranks_per_node": 4, "threads": 3}, 6)

        self.assertEqual(words, ["srun", "--mpi=pmix", "--kill-on-bad-exit=1", "--nodes=2", "--ntasks=6",
                                 "--ntasks-per-node=4", "--cpus-per-task=3"])


class Gather(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory(prefix="scaling test ")
        self.addCleanup(scratch.cleanup)
        self.folder = pathlib.Path(scratch.name)
        self.plan(STUDY)

    def plan(self, options):
        self.study = options
        (self.folder / "study.json").write_text(json.dumps(options), encoding="utf-8")

    def write(self, name, *values, **shares):
        write_metrics(self.folder / "runs" / name, *values, **shares)

    def write_all(self, leave_out=(), **losses):
        """Medians of the three timed steps: 8 s and 5 s strong, 800 and 1200 tokens/s weak."""
        files = {"strong-00001-1": (STRONG_LOSS, [99, 7, 8, 9], [1, 500, 600, 700]),
                 "strong-00002-1": (STRONG_LOSS, [99, 5, 4, 6], [1, 900, 1000, 950]),
                 "weak-00001-1": (STRONG_LOSS, [99, 8, 8, 8], [1, 800, 700, 900]),
                 "weak-00002-1": (WEAK_LOSS, [99, 9, 9, 9], [1, 1200, 1100, 1300]),
                 "check-00002-1": (WEAK_LOSS[:2], [99, 9], [1, 1])}
        for name, (loss, seconds, rate) in files.items():
            if name not in leave_out:
                self.write(name, losses.get(name.replace("-", "_"), loss), seconds, rate, communication=0.5, data=0.25)

    def gather(self):
        """(exit code, rows by (mode, ranks), standard output)"""
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            code = gather.gather(self.folder)
        with open(self.folder / "table.csv", newline="", encoding="utf-8") as file:
            return code, {(row["mode"], int(row["ranks"])): row for row in csv.DictReader(file)}, out.getvalue()

    def assert_no_speed(self, row):
        self.assertEqual({row[name] for name in gather.SPEEDS}, {""})

    def test_numbers_by_hand(self):
        self.write_all()

        code, rows, _ = self.gather()

        two = rows["strong", 2]
        self.assertEqual(code, 0)
        self.assertEqual(float(two["step_seconds_median"]), 5)
        self.assertAlmostEqual(float(two["step_seconds_p5"]), 4.1)
        self.assertAlmostEqual(float(two["step_seconds_p95"]), 5.9)
        self.assertEqual(float(two["tokens_per_second"]), 950)
        self.assertAlmostEqual(float(two["efficiency"]), 8 * 1 / (5 * 2))
        self.assertAlmostEqual(float(two["communication_share"]), 1.5 / 15)
        self.assertAlmostEqual(float(two["data_share"]), 0.75 / 15)
        self.assertAlmostEqual(float(rows["weak", 2]["efficiency"]), (1200 / 2) / 800)
        self.assertEqual([row["efficiency"] for row in rows.values() if row["ranks"] == "1"], ["1.0", "1.0"])

    def test_efficiency_is_against_the_smallest_count_even_if_it_is_not_one(self):
        self.plan({**STUDY, "modes": ["strong"], "ranks": [2, 4]})
        self.write("strong-00002-1", STRONG_LOSS, [9, 6, 6, 6], [1] * 4)
        self.write("strong-00004-1", STRONG_LOSS, [9, 4, 4, 4], [1] * 4)

        _, rows, _ = self.gather()

        self.assertAlmostEqual(float(rows["strong", 4]["efficiency"]), 6 * 2 / (4 * 4))

    def test_a_strong_loss_that_differs_in_the_last_bit_of_one_step_has_no_speed(self):
        self.write_all(strong_00002_1=[*STRONG_LOSS[:3], next_bit(STRONG_LOSS[3])])

        code, rows, out = self.gather()

        self.assertEqual(code, 1)
        self.assertEqual((rows["strong", 2]["verdict"], rows["strong", 2]["result"]), ("differs", "FAIL"))
        self.assert_no_speed(rows["strong", 2])
        self.assertEqual(rows["strong", 1]["result"], "PASS")
        self.assertIn("3 of 4 configurations passed", out)

    def test_a_weak_loss_is_compared_with_the_check_of_the_same_batch(self):
        self.write_all(check_00002_1=[WEAK_LOSS[0], next_bit(WEAK_LOSS[1])])

        code, rows, _ = self.gather()

        self.assertEqual((code, rows["weak", 2]["verdict"], rows["weak", 2]["reference"]),
                         (1, "differs", "check-00002-1"))
        self.assert_no_speed(rows["weak", 2])

    def test_repeats_must_agree_beyond_the_checked_steps(self):
        self.plan({**STUDY, "repeats": 2, "modes": ["weak"]})
        self.write_all(leave_out=["strong-00001-1", "strong-00002-1"])
        self.write("weak-00001-2", STRONG_LOSS, [9] * 4, [1] * 4)
        self.write("weak-00002-2", [*WEAK_LOSS[:3], next_bit(WEAK_LOSS[3])], [9] * 4, [1] * 4)

        _, rows, _ = self.gather()

        self.assertEqual((rows["weak", 1]["verdict"], rows["weak", 2]["verdict"]), ("same", "differs"))

    def test_losses_that_are_not_finite_agree_with_nothing(self):
        loss = [*STRONG_LOSS[:3], math.nan]
        self.write_all(strong_00001_1=loss, strong_00002_1=loss)

        _, rows, _ = self.gather()

        self.assertEqual(rows["strong", 2]["verdict"], "differs")

    def test_missing_runs_are_named(self):
        self.write_all(leave_out=["strong-00002-1", "check-00002-1"])

        code, rows, out = self.gather()

        self.assertEqual(code, 1)
        self.assertEqual((rows["strong", 2]["verdict"], rows["weak", 2]["verdict"]), ("missing", "unchecked"))
        self.assert_no_speed(rows["weak", 2])
        self.assertIn("missing: strong-00002-1", out)
        self.assertIn("missing: check-00002-1", out)

    def test_a_run_that_ended_early_counts_as_missing(self):
        self.write_all(leave_out=["strong-00002-1"])
        self.write("strong-00002-1", STRONG_LOSS[:3], [9] * 3, [1] * 3)

        _, rows, _ = self.gather()

        self.assertEqual(rows["strong", 2]["verdict"], "missing")

    def test_without_the_smallest_count_nothing_is_proven(self):
        self.write_all(leave_out=["strong-00001-1"])

        _, rows, _ = self.gather()

        self.assertEqual(rows["strong", 2]["verdict"], "unchecked")
        self.assert_no_speed(rows["strong", 2])

    def test_hdf5_holds_the_same_table_with_units(self):
        self.write_all(strong_00002_1=[1.0, 1.0, 1.0, 1.0])

        _, rows, _ = self.gather()

        with h5py.File(self.folder / "table.h5") as file:
            self.assertEqual(set(file), set(next(iter(rows.values()))))
            self.assertEqual(file["verdict"].asstr()[:].tolist(), [row["verdict"] for row in rows.values()])
            self.assertEqual(file["ranks"][:].tolist(), [1, 2, 1, 2])
            self.assertTrue(math.isnan(file["efficiency"][1]))
            self.assertEqual(file["step_seconds_median"].attrs["units"], "s")
            self.assertEqual(file.attrs["warmup_steps"], 1)
            self.assertEqual(file.attrs["hosts"], "node1")
            self.assertIn("train.packs=4", file.attrs["command"])

    def test_svg_is_xml_with_a_point_for_each_speed(self):
        self.write_all(strong_00002_1=[1.0, 1.0, 1.0, 1.0])
        self.gather()

        root = xml.etree.ElementTree.parse(self.folder / "table.svg").getroot()

        points = root.findall(".//{http://www.w3.org/2000/svg}circle")
        self.assertEqual(len(points), 2 * 3)  # two panels, three rows with a speed

    def test_svg_without_any_speed(self):
        self.write_all(leave_out=["strong-00001-1", "strong-00002-1", "weak-00001-1", "weak-00002-1"])

        code, _, _ = self.gather()

        self.assertEqual(code, 1)
        self.assertNotIn("nan", (self.folder / "table.svg").read_text(encoding="utf-8"))

    def test_lines_have_one_width(self):
        self.write_all(leave_out=["strong-00002-1"])

        _, _, out = self.gather()

        lines = out.splitlines()
        place = lines[0].index("verdict")
        self.assertEqual([line[place:].split()[0] for line in lines[1:5]], ["same", "missing", "same", "same"])
        self.assertEqual([line.split()[-1] for line in lines[1:5]], ["PASS", "FAIL", "PASS", "PASS"])


class Svg(unittest.TestCase):
    def test_words_are_escaped(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "plot.svg"
            svg.write(path, [svg.Panel("a < b & c", "x", "y", [svg.Line("one", [1, 2], [1.0, 0.5])])])
            root = xml.etree.ElementTree.parse(path).getroot()

        self.assertIn("a < b & c", [element.text for element in root.iter()])


class CommandLine(unittest.TestCase):
    def scaling(self, *words):
        return subprocess.run([sys.executable, str(VALIDATION / "scaling"), *map(str, words)], capture_output=True,
                              text=True)

    def test_jobs_of_every_count_with_options_of_sbatch(self):
        with tempfile.TemporaryDirectory(prefix="scaling test ") as folder:
            options = {**STUDY, "ranks": [2, 8], "ranks_per_node": 4, "threads": 3}
            (pathlib.Path(folder) / "study.json").write_text(json.dumps(options), encoding="utf-8")
            done = self.scaling("submit", folder, "--dry-run", "--", "--time=10")

        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--nodes=1 --ntasks=2 --ntasks-per-node=2 --cpus-per-task=3", done.stdout.splitlines()[0])
        self.assertIn("--nodes=2 --ntasks=8 --ntasks-per-node=4 --cpus-per-task=3", done.stdout.splitlines()[1])
        self.assertIn("--time=10", done.stdout.splitlines()[1])

    def test_a_folder_without_a_study_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            done = self.scaling("gather", folder)

        self.assertEqual(done.returncode, 64)
        self.assertIn("study.json", done.stderr)


if __name__ == "__main__":
    unittest.main()
