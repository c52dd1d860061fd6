"""The chaos test (validation/chaos) in short: some kills, and that it notices what it looks for."""
import subprocess
import sys

from hrm_cli import MPIEXEC, PROGRAM, ROOT, HrmTest, main, sums


class Chaos(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(600))

    def chaos(self, program, kills, steps, code):
        command = [sys.executable, ROOT / "validation" / "chaos", self.folder / "chaos", "--data", self.data, "--hrm",
                   program, "--mpiexec", MPIEXEC, "--kills", kills, "--steps", steps, "--seed", 3]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=800)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def program_that(self, commands):
        """The program behind a script of these lines."""
        script = self.folder / "other hrm"
        script.write_text(f'#!/bin/sh\n{commands}\nexec "{PROGRAM}" "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        return script

    def test_killed_at_random_instants_the_run_ends_with_the_same_weights_and_rows(self):
        done = self.chaos(PROGRAM, 8, 30, 0)

        self.assertIn("seed 3: 8 kills", done.stdout)
        self.assertIn("same weights, same rows", done.stdout)

    def test_other_weights_are_noticed(self):
        resumed = self.program_that('case "$*" in *"--resume auto"*) set -- "$@" --set train.learning_rate=3e-3 ;; esac')

        done = self.chaos(resumed, 1, 8, 1)

        self.assertIn("inspect --diff", done.stderr)

    def test_other_rows_are_noticed(self):
        # Weights that only seem to be the same.
        blind = self.program_that('case "$*" in *--diff*) exit 0 ;; *"--resume auto"*) '
                                  'set -- "$@" --set train.learning_rate=3e-3 ;; esac')

        done = self.chaos(blind, 1, 8, 1)

        self.assertIn("of them different", done.stderr)


if __name__ == "__main__":
    main()
