"""A signal reaches every loop: loading, evaluation, generation, passed-over steps. All ranks leave together with 75."""
import json
import os
import pathlib
import signal
import subprocess
import time

from hrm_cli import MPI_ENVIRONMENT, MPIEXEC, PROGRAM, STOPPED, TINY, HrmTest, main, settings, sums, write_jsonl

USR1_BIT = 1 << (signal.SIGUSR1 - 1)


def read_proc(pid, name):
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8")
    except OSError:
        return ""


def catches_usr1(pid):
    lines = [line for line in read_proc(pid, "status").splitlines() if line.startswith("SigCgt:")]
    return bool(lines) and bool(int(lines[0].split()[1], 16) & USR1_BIT)


class Stops(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(600))
        self.run_folder = self.folder / "run"
        # Minutes of answers from a model that has not learned to end them.
        self.problems = write_jsonl(self.folder / "problems.jsonl", [
            {"benchmark": "sums", "question": f"{n} + 1 =", "answer": str(n + 1)} for n in range(5000)])

    def start(self, *arguments, ranks=2):
        process = subprocess.Popen([MPIEXEC, "-n", str(ranks), PROGRAM, *map(str, arguments)], text=True,
                                   env={**os.environ, **MPI_ENVIRONMENT}, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.kill)
        return process

    def start_training(self, *arguments, ranks=2, **values):
        return self.start("train", "--config", TINY, *settings(
            data__path=self.data, checkpoint__dir=self.run_folder, device__threads=1, **values), *arguments,
            ranks=ranks)

    def until(self, done, process, seconds=60):
        end = time.monotonic() + seconds
        while not done():
            self.assertIsNone(process.poll(), "the run ended too early")
            self.assertLess(time.monotonic(), end, "takes too long")
            time.sleep(0.001)

    def stopped(self, process):
        """Standard error of a run that leaves with 75 after USR1."""
        process.send_signal(signal.SIGUSR1)
        out, err = process.communicate(timeout=60)
        self.assertEqual(process.returncode, STOPPED, out + err)
        return err

    def wait_for_loaded(self, process):
        """Until it warns of its young average, which follows the loading."""
        line = process.stderr.readline()
        while "its average remembers" not in line:
            self.assertTrue(line, "the run ended too early")
            line = process.stderr.readline()

    def ranks_listen(self, process, ranks=2):
        children = read_proc(process.pid, f"task/{process.pid}/children").split()
        return len(children) >= ranks and all(catches_usr1(pid) for pid in children)

    def rows(self, record):
        journal = self.run_folder / "metrics.jsonl"
        lines = journal.read_text(encoding="utf-8").splitlines(True) if journal.exists() else []
        return [row for row in (json.loads(line) for line in lines if line.endswith("\n")) if row["record"] == record]

    def events(self, text):
        return [row for row in self.rows("event") if text in row["text"]]

    def status(self):
        return json.loads((self.run_folder / "status.json").read_text(encoding="utf-8"))

    def trained(self, steps=2):
        self.train(self.data, self.run_folder, "--stop-after", steps, code=STOPPED)
        return self.run_folder / "latest.h5"

    def test_evaluation_of_a_checkpoint(self):
        process = self.start("eval", "--checkpoint", self.trained(), "--benchmark", self.problems, "--threads", 1)
        self.wait_for_loaded(process)

        err = self.stopped(process)

        self.assertEqual(err.count("hrm: error: stopped on request"), 1, err)

    def test_generation(self):
        prompts = write_jsonl(self.folder / "prompts.jsonl", [{"instruction": f"{n} + 1 ="} for n in range(5000)])
        process = self.start("generate", "--checkpoint", self.trained(), "--prompts", prompts, "--threads", 1)
        self.wait_for_loaded(process)

        err = self.stopped(process)

        self.assertEqual(err.count("hrm: error: stopped on request"), 1, err)

    def test_evaluation_while_training(self):
        process = self.start_training(eval__benchmark=self.problems, eval__interval_steps=1, train__max_steps=100)
        self.until(lambda: self.rows("train"), process)

        self.stopped(process)

        self.assertEqual((self.status()["state"], self.status()["step"]), ("stopped", 1))
        self.assertTrue(self.events("the evaluation of this step was given up"))
        self.assertEqual(os.readlink(self.run_folder / "latest.h5"), "step-00000001.h5")

    def test_benchmark_that_vanishes_does_not_end_the_run(self):
        few = write_jsonl(self.folder / "few.jsonl", [{"benchmark": "sums", "question": "1 + 1 =", "answer": "2"}])
        process = self.start_training(eval__benchmark=few, eval__interval_steps=10, train__max_steps=100000)
        self.until(lambda: self.rows("train"), process)
        few.unlink()
        reached = self.rows("train")[-1]["step"]

        self.until(lambda: [row for row in self.rows("eval") if row["step"] > reached], process)

        self.stopped(process)

    def test_last_evaluation_is_made_up_for(self):
        process = self.start_training(eval__benchmark=self.problems, train__max_steps=6)
        self.until((self.run_folder / "step-00000006.h5").exists, process)
        self.stopped(process)
        self.assertEqual(self.status()["state"], "stopped")
        few = write_jsonl(self.folder / "few.jsonl", [{"benchmark": "sums", "question": "1 + 1 =", "answer": "2"}])

        for _ in range(2):
            self.train(self.data, self.run_folder, "--resume", "auto", eval__benchmark=few, train__max_steps=6)

            self.assertEqual(self.status()["state"], "finished")
            self.assertEqual([row["step"] for row in self.rows("eval")], [6])

    def test_loading_of_a_checkpoint(self):
        self.trained()
        process = self.start_training("--resume", "auto", train__max_steps=100)
        self.until(lambda: self.ranks_listen(process), process)

        err = self.stopped(process)  # MPI has not even started

        self.assertIn("stopped on request", err)
        self.assertNotIn("training hrm", err)
        self.assertEqual(os.readlink(self.run_folder / "latest.h5"), "step-00000002.h5")

    def test_a_time_limit_that_has_passed(self):
        outcome = self.train(self.data, self.run_folder, code=STOPPED, run__time_limit="2020-01-01T00:00:00")

        self.assertRegex(outcome.err, r"the time limit \(run.time_limit\) passed \d+ s ago")

    def test_passed_over_steps(self):
        skips = {"guard__window": 8, "guard__max_skips": 100, "train__max_steps": 100000, "train__packs": 1}
        self.train(self.data, self.run_folder, "--stop-after", 12, code=STOPPED, **skips)
        process = self.start_training("--resume", "auto", ranks=1, train__learning_rate=50, **skips)
        self.until(lambda: self.ranks_listen(process, 1), process)
        rank = int(read_proc(process.pid, f"task/{process.pid}/children").split()[0])
        self.until(lambda: self.events("passed over"), process)
        os.kill(rank, signal.SIGSTOP)
        os.kill(rank, signal.SIGUSR1)
        os.kill(rank, signal.SIGCONT)

        _, err = process.communicate(timeout=60)

        self.assertEqual(process.returncode, STOPPED, err)
        last = self.status()["step"]
        self.assertEqual(last, max(row["step"] for row in self.rows("event") if row["text"] == "passed over"))
        self.assertEqual(os.readlink(self.run_folder / "latest.h5"), f"step-{last:08}.h5")


if __name__ == "__main__":
    main()
