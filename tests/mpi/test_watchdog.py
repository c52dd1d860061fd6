"""What the watchdog makes of ranks that wait for each other. Arguments: watchdog_check, launcher."""
import subprocess
import sys
import tempfile
import unittest

PROGRAM, MPIEXEC = sys.argv.pop(1), sys.argv.pop(1)
LOST_PEER = 69


class Waits(unittest.TestCase):
    def run_mode(self, mode):
        with tempfile.TemporaryDirectory() as folder:
            return subprocess.run([MPIEXEC, "-n", "2", PROGRAM, mode, folder], capture_output=True, text=True,
                                  timeout=100)

    def test_rank_that_works_is_waited_for(self):
        done = self.run_mode("slow_peer")

        self.assertEqual((done.returncode, done.stdout), (0, "met\nmet\n"), done.stderr)

    def test_ranks_whose_limits_end_at_different_times_hear_each_other(self):
        done = self.run_mode("different_limits")

        self.assertEqual(done.returncode, LOST_PEER, done.stderr)
        self.assertEqual(done.stderr.count("hrm: error: no progress: every rank waits"), 1, done.stderr)
        self.assertIn("waits in meet of step 2", done.stderr)
        self.assertIn("waits in its own section of step 2", done.stderr)
        self.assertIn("verdict: silent hosts ''", done.stderr)

    def test_peer_that_is_stopped_at_exit_is_named(self):
        done = self.run_mode("stopped_at_exit")

        self.assertEqual(done.returncode, LOST_PEER, done.stderr)
        self.assertIn("no word from rank 1 on ", done.stderr)
        self.assertIn("rank 0 on ", done.stderr)
        self.assertIn("waits in exit of step 0", done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
