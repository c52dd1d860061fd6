"""Sums of a trace of kernels, on traces made by hand."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "validation"))
from gpu import kernel_times

# Begin, duration, stream, name; not in order, as buffers of several streams come.
TRACE = """100,50,7,_ZN4adam_atan2_cuda
400,100,7,nvjet_sm90_tst_192x192,TNN
150,100,7,_ZN12swiglu_cuda_cu_17Forward
450,100,8,_ZN15elementwise4Cast
260,20,7,copy
600,10,7,_ZN4adam_atan2_cuda
700,10,7,nvjet after the last update
"""


class KernelTimes(unittest.TestCase):
    def summary(self, text):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "trace.csv"
            file.write_text(text)
            return kernel_times.summary(kernel_times.read(file))

    def test_the_last_whole_step_is_summed_by_operation(self):
        step = self.summary(TRACE)

        self.assertEqual(step["launches"], 5)
        self.assertAlmostEqual(step["seconds"], 460e-9)
        self.assertEqual({name: launches for name, (_, launches) in step["operations"].items()},
                         {"products": 1, "cast of weights": 1, "swiglu forward": 1, "other": 1, "adam_atan2": 1})
        self.assertAlmostEqual(step["operations"]["products"][0], 100e-9)

    def test_time_that_two_streams_share_is_busy_once(self):
        self.assertAlmostEqual(self.summary(TRACE)["busy"], (100 + 20 + 150 + 10) * 1e-9)

    def test_a_trace_without_two_updates_holds_no_step(self):
        with self.assertRaises(ValueError):
            self.summary(TRACE.split("600,")[0])


if __name__ == "__main__":
    unittest.main()
