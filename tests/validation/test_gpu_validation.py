"""The driver behind gpu.sh with a program that only pretends: verdicts, limits of time, what is skipped, exit codes."""
import contextlib
import io
import json
import os
import pathlib
import stat
import subprocess
import sys
import tempfile
import time
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "validation"))
import gpu.__main__ as driver
from gpu import machine, speed, training
from gpu.runner import FAIL, PASS, SKIPPED, Failed, Runner

# A program with the exit codes and the output of hrm: FAKE holds what each command does.
FAKE = """#!/usr/bin/env python3
import json, os, pathlib, sys
plan = json.loads(pathlib.Path(os.environ["FAKE"]).read_text()).get(sys.argv[1], {})
with open(os.environ["FAKE"] + ".calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "train":
    folder = pathlib.Path(next(w.split("=", 1)[1] for w in sys.argv if w.startswith("checkpoint.dir=")))
    folder.mkdir(parents=True, exist_ok=True)
    stops = "--stop-after" in sys.argv
    until = int(sys.argv[sys.argv.index("--stop-after") + 1]) if stops else 100
    plan["code"] = plan.get("code", 0) if stops else 0
    with open(folder / "metrics.jsonl", "w") as file:
        for step in range(1, until + 1):
            loss = 5.0 - 0.1 * step + (plan.get("drift", 0) if "device.type=cuda" in sys.argv else 0)
            file.write(json.dumps({"record": "train", "step": step, "loss": loss, "seconds": 0.25, "seconds_checkpoint": 0.0,
                                   "tokens_per_second": 800.0}) + "\\n")
print(plan.get("gpu" if "device.type=cuda" in sys.argv and "gpu" in plan else "out", ""))
print(plan.get("err", ""), file=sys.stderr)
sys.exit(plan.get("code", 0))
"""
MEMORY = {"weights": {"held": 90, "predicted": 92}, "tree": {"held": 10, "predicted": 10}}


class Driver(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.hrm = self.folder / "hrm"
        self.hrm.write_text(FAKE)
        self.hrm.chmod(self.hrm.stat().st_mode | stat.S_IXUSR)
        self.plan(train={"code": 75})
        environment = mock.patch.dict(os.environ, FAKE=str(self.folder / "plan.json"), HRM_TEST_DATA="")
        environment.start()
        self.addCleanup(environment.stop)

    def plan(self, **commands):
        (self.folder / "plan.json").write_text(json.dumps(commands))

    def calls(self):
        file = self.folder / "plan.json.calls"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def golden_files(self, *names):
        (self.folder / "golden").mkdir()
        for name in names:
            (self.folder / "golden" / name).touch()
        return str(self.folder)

    def go(self, *arguments, gpus=machine.Gpus(0)):
        """(exit code, {check: verdict}, results)"""
        out = self.folder / "out"
        with mock.patch.object(machine, "find", lambda: gpus), contextlib.redirect_stdout(io.StringIO()):
            code = driver.main(["--hrm", str(self.hrm), "--out", str(out), *arguments])
        results = json.loads((out / "results.json").read_text())["results"]
        return code, {f"{r['step']}: {r['name']}": r["verdict"] for r in results}, results


class Verdicts(Driver):
    def test_golden_files_pass_in_both_precisions(self):
        self.plan(validate={"out": "a.h5 logits 1e-7 1e-5 PASS"})

        code, verdicts, _ = self.go("--only", "golden", "--data", self.golden_files("a.h5", "b.json"))

        self.assertEqual(code, 0)
        self.assertEqual(set(verdicts.values()), {PASS})
        self.assertEqual(sorted(call[2] for call in self.calls()), ["bf16", "bf16", "fp32", "fp32"])
        self.assertTrue(all("device.type=cuda" in call for call in self.calls()))

    def test_a_quantity_that_fails_is_named_and_ends_with_1(self):
        self.plan(validate={"out": "a.h5 logits 1e-2 1e-5 FAIL", "code": 1})

        code, _, results = self.go("--only", "golden", "--data", self.golden_files("a.h5"))

        self.assertEqual(code, 1)
        self.assertIn("logits", results[0]["note"])

    def test_a_program_that_compares_nothing_fails(self):
        code, verdicts, _ = self.go("--only", "golden", "--data", self.golden_files("a.h5"))

        self.assertEqual((code, set(verdicts.values())), (1, {FAIL}))

    def test_kernel_tests_are_counted_and_must_pass(self):
        program = self.folder / "tests"
        program.write_text("#!/bin/sh\necho '[  PASSED  ] 113 tests.'\nexit $CODE\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        for code, verdict in (("0", PASS), ("1", FAIL)):
            with mock.patch.dict(os.environ, CODE=code):
                _, verdicts, results = self.go("--only", "kernels", "--kernel-tests", str(program))

            self.assertEqual(verdicts["kernels: against float64"], verdict)
            self.assertEqual(results[0]["numbers"], {"tests": 113} if verdict == PASS else {})

    def test_missing_data_and_tools_are_skipped_and_say_so(self):
        with mock.patch("shutil.which", lambda name: None):
            code, verdicts, results = self.go("--only", "golden,kernels,sanitizer,copies,profile,registers", "--build",
                                              str(self.folder))

        self.assertEqual((code, set(verdicts.values())), (0, {SKIPPED}))
        self.assertTrue(all(result["note"] for result in results))

    def test_a_failing_step_does_not_stop_the_next(self):
        self.plan(validate={"code": 70}, bench={"code": 70})

        _, verdicts, _ = self.go("--only", "gemm,golden", "--data", self.golden_files("a.h5"))

        self.assertEqual(verdicts["gemm: products of XL"], FAIL)
        self.assertEqual(verdicts["golden: a.h5 bf16"], FAIL)

    def test_without_a_gpu_and_a_program_it_does_not_start(self):
        with mock.patch.object(machine, "find", lambda: machine.Gpus(0)), self.assertRaises(SystemExit) as end:
            driver.main(["--out", str(self.folder / "out")])

        self.assertIn("no GPU", str(end.exception))

    def test_unknown_steps_are_refused(self):
        with contextlib.redirect_stderr(io.StringIO()), self.assertRaises(SystemExit):
            driver.parse(["--only", "golden,speed"])


class Training(Driver):
    def setUp(self):
        super().setUp()
        corpus = mock.patch.object(training.Corpus, "make", lambda self: self.shards)
        corpus.start()
        self.addCleanup(corpus.stop)

    def test_runs_that_keep_losses_and_bits_pass(self):
        code, verdicts, _ = self.go("--only", "parallel,restart", "--gpus", "1")

        self.assertEqual(code, 0)
        self.assertEqual(verdicts["restart: CPU, GPU, CPU"], PASS)
        self.assertEqual(verdicts["parallel: tensor = 2, 2 GPU"], SKIPPED)

    def test_replies_of_gpu_and_cpu_must_agree(self):
        for gpu, verdict in (("85", PASS), ("86", FAIL)):
            self.plan(train={"code": 75}, generate={"out": "85", "gpu": gpu})

            _, verdicts, _ = self.go("--only", "generation")

            self.assertEqual(set(verdicts.values()), {verdict})

    def test_runs_are_timed_with_saves_and_without(self):
        _, verdicts, results = self.go("--only", "runs")

        self.assertEqual(verdicts, {"runs: B without saves": PASS, "runs: B with a save every 50 steps": PASS})
        self.assertIn("250.0 ms a step, 800 tokens/s, 1.000 of without", results[1]["note"])
        self.assertEqual(len(results[1]["numbers"]["seconds"]), training.RUN_STEPS - training.WARM_UP)

    def test_gpu_that_drifts_from_the_cpu_fails(self):
        self.plan(train={"code": 75, "drift": 0.1})
        runs = training.Runs(Runner(self.folder / "out"), mock.Mock(hrm=self.hrm, launcher=[], train_set={}, patience=1))
        runs.train("a", "cuda", 3)
        runs.train("b", "cpu", 3)

        with self.assertRaises(Failed):
            training.compare_losses(runs, "a", "b")

    def test_different_bits_fail(self):
        self.plan(train={"code": 75}, inspect={"code": 1, "out": "weights/o: differs"})

        code, _, results = self.go("--only", "restart")

        self.assertEqual(code, 1)
        self.assertIn("weights/o", [r["note"] for r in results if r["verdict"] == FAIL][-1])

    def test_numbers_of_ranks(self):
        self.assertEqual([training.rank_counts(n) for n in (1, 2, 6, 8)], [[1], [1, 2], [1, 2, 4, 6], [1, 2, 4, 8]])


class Speed(Driver):
    H100 = machine.Gpus(1, "NVIDIA H100 80GB HBM3", 80e9)

    def bench(self, **changes):
        step = driver.complete(driver.parse(["--hrm", str(self.hrm)]), self.H100)
        model = speed.account_of(step.configs[0], {"precision": "bf16"}, step, 1)
        flops = sum(work.model_flops for work in model.works())
        values = {"precision": "bf16", "seconds_per_step": 0.5, "tokens_per_second": 12288 / 0.5,
                  "model_flops_per_second": flops / 0.5, "memory": MEMORY, **changes}
        self.plan(bench={"out": json.dumps(values)})
        return self.go("--only", "bench", "--configs", str(ROOT / "configs" / "B.cfg"), gpus=self.H100)

    def test_mfu_by_model_and_by_executed_flops(self):
        code, verdicts, (result, _) = self.bench()
        numbers = result["numbers"]

        self.assertEqual((code, set(verdicts.values())), (0, {PASS}))
        self.assertAlmostEqual(numbers["mfu"], 41.1e12 / 0.5 / 989.4e12, places=3)
        self.assertGreater(numbers["hfu"], numbers["mfu"])
        self.assertEqual(set(numbers["account_seconds"]), {"pessimistic", "middle", "optimistic"})

    def test_other_flops_than_the_accounts_fail(self):
        code, _, (result, _) = self.bench(model_flops_per_second=1e12)

        self.assertEqual(code, 1)
        self.assertIn("the account", result["note"])

    def test_memory_far_from_its_prediction_fails(self):
        code, _, (speed_result, result) = self.bench(memory={"weights": {"held": 100, "predicted": 110}})

        self.assertEqual((code, speed_result["verdict"]), (1, PASS))
        self.assertIn("predicted", result["note"])

    def test_too_small_a_gpu_is_skipped_and_a_large_one_fails(self):
        self.plan(bench={"code": 70, "err": "cudaMalloc: out of memory"})
        arguments = ("--only", "bench", "--configs", "configs/B.cfg")

        small = self.go(*arguments, gpus=machine.Gpus(1, "RTX", 24e9))[1]
        large = self.go(*arguments, gpus=self.H100)[1]

        self.assertEqual((small["bench: B, 1 GPU"], large["bench: B, 1 GPU"]), (SKIPPED, FAIL))

    def test_rate_of_products_is_weighted_by_time(self):
        products = [{"weight": "o", "kind": "forward", "flops": 1e12, "flops_per_second": 1e14},
                    {"weight": "down", "kind": "forward", "flops": 1e12, "flops_per_second": 3e14}]
        self.plan(bench={"out": json.dumps({"products": products})})

        _, _, (result,) = self.go("--only", "gemm")

        self.assertAlmostEqual(result["numbers"]["flops_per_second"], 1.5e14)


class Commands(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.runner = Runner(temporary.name)

    def test_a_command_that_hangs_ends_with_all_that_it_started(self):
        pid = pathlib.Path(self.runner.out) / "pid"
        begin = time.monotonic()

        with self.assertRaises(Failed):
            self.runner.run(["bash", "-c", f"sleep 60 & echo $! > {pid}; wait"], 1)

        self.assertLess(time.monotonic() - begin, 30)
        state = subprocess.run(["ps", "-o", "stat=", "-p", pid.read_text().strip()], capture_output=True, text=True).stdout
        self.assertIn(state.strip()[:1], ("", "Z"))

    def test_logs_hold_command_and_output(self):
        self.runner.run(["echo", "hello there"], 10)
        (log,) = (self.runner.out / "logs").iterdir()

        self.assertIn("hello there", log.read_text())

    def test_an_unexpected_exception_fails_one_check_only(self):
        with contextlib.redirect_stdout(io.StringIO()):
            self.runner.check("a", "b", lambda: 1 / 0)
            self.runner.check("a", "c", lambda: ("", {}))

        self.assertEqual([result.verdict for result in self.runner.results], [FAIL, PASS])


class Machine(unittest.TestCase):
    def test_what_nvidia_smi_prints(self):
        gpus = machine.parse("NVIDIA H100 80GB HBM3, 550.54, 81559, 1980, 700.00, 9.0\n" * 2)

        self.assertEqual((gpus.count, gpus.peak, gpus.facts[1]["compute_cap"]), (2, 989.4e12, "9.0"))

    def test_unknown_gpus_have_no_peak(self):
        self.assertIsNone(machine.parse("Some GPU, 1, [N/A], 1, 1, 9.0").peak)
        self.assertEqual(machine.parse("").count, 0)


if __name__ == "__main__":
    unittest.main()
