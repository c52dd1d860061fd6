"""The account of a step on GPUs against counts made another way: by brute force, by hand, by formulas of the paper."""
import contextlib
import dataclasses
import io
import json
import pathlib
import sys
import tempfile
import unittest
from unittest import mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "validation"))
import gpu_account.__main__ as main
from gpu_account import attention, estimate, exchange, machine, program, remedies
from gpu_account.attention import Samples
from gpu_account.model import read_model


def step(name="XL", *arguments):
    return main.make_step(name, main.parse([name, *arguments]))


def sees(samples, query, key):
    return key < samples.prefix or key <= query


class Sizes(unittest.TestCase):
    def test_parameters_are_those_of_the_paper(self):
        millions = [round(step(name).model.parameters / 1e6, 1) for name in main.GPUS]

        self.assertEqual(millions, [300.9, 694.7, 1182.8])

    def test_settings_win_over_the_file(self):
        model = read_model(ROOT / "configs" / "XL.cfg", "XL", [("train", "packs", 32)])

        self.assertEqual((model.packs, model.slots, model.intermediate), (32, 12288, 4096))

    def test_other_architectures_are_refused(self):
        with self.assertRaises(ValueError):
            read_model(ROOT / "configs" / "XL.cfg", "XL", [("model", "architecture", "trm")])


class Program(unittest.TestCase):
    def calls(self, horizon):
        return program.unroll(read_model(ROOT / "configs" / "XL.cfg", "XL", [("model", "bp_max_steps", horizon)]))

    def test_differentiated_calls_of_every_horizon(self):
        on = {h: [call.name for call in self.calls(h) if call.on] for h in (2, 3, 4, 5)}

        self.assertEqual(on, {2: ["L_5", "H_1"], 3: ["H_0", "L_5", "H_1"], 4: ["H_0", "L_4", "L_5", "H_1"],
                              5: ["H_0", "L_3", "L_4", "L_5", "H_1"]})

    def test_gradients_merge_where_a_state_was_used_twice(self):
        plan = program.backward(self.calls(5))

        # H_1 feeds H_0 and L_5, which is a copy; L_5, L_4 and L_3 each add to H_0's.
        self.assertEqual([(b.call.name, b.adds, b.copies) for b in plan],
                         [("H_1", 0, 1), ("L_5", 1, 0), ("L_4", 1, 0), ("L_3", 1, 0), ("H_0", 0, 0)])

    def test_embedding_is_frozen_at_the_shortest_horizon(self):
        self.assertEqual([program.reaches_embedding(self.calls(h)) for h in (2, 3)], [False, True])


class Attention(unittest.TestCase):
    SAMPLES = [Samples(1, 512, 256), Samples(1, 70, 33), Samples(1, 129, 1), Samples(1, 300, 299), Samples(1, 1, 1)]

    def test_visible_pairs_are_those_of_the_mask(self):
        for samples in self.SAMPLES:
            count = sum(sees(samples, q, k) for q in range(samples.length) for k in range(samples.length))
            self.assertEqual(attention.visible_pairs(samples), count)

    def test_query_kernels_compute_the_steps_that_a_warp_sees(self):
        for samples in self.SAMPLES:
            count = 0
            for first in range(0, samples.length, 32):
                rows = range(first, min(first + 32, samples.length))
                for key in range(0, samples.length, 32):
                    if any(sees(samples, q, key) for q in rows):  # keys run upwards: the first decides
                        count += 32 * 32
            self.assertEqual(attention.query_pairs(samples), count)

    def test_key_kernel_computes_no_less_than_the_mask_and_little_more(self):
        for samples in self.SAMPLES[:1]:
            self.assertGreaterEqual(attention.key_pairs(samples, 128), attention.visible_pairs(samples))
            self.assertLess(attention.key_pairs(samples, 128), 1.15 * attention.visible_pairs(samples))


class Counts(unittest.TestCase):
    def test_model_flops_follow_the_papers_formula(self):
        s = step()
        m = s.model
        core = m.layers * m.layer_parameters
        pairs = attention.visible_pairs(s.setting.samples)
        expected = (m.slots * core / 2 * (2 * 8 + 4 * 5) + 6 * m.vocab * m.width * s.setting.samples.supervised
                    + m.stack_layers * m.width * pairs * (4 * 8 + 8 * 5))

        counted = sum(work.model_flops for work in s.works())

        self.assertAlmostEqual(counted / expected, 1, places=9)

    def test_launches_of_a_layer(self):
        s = step()

        # Forward: two norms, four products, rope, attention, gate, SwiGLU. Backward: eight products, two norms, rope,
        # gate, SwiGLU, three kernels of attention.
        self.assertEqual(sum(work.launches for work in s.layer_forward()), 10)
        self.assertEqual(sum(work.launches for work in s.layer_backward()), 16)

    def test_padding_takes_one_more_launch_per_attention(self):
        padded = step("XL", "--sequence", "500", "--prefix", "250").works()

        self.assertEqual([work.launches for work in padded if work.name == "attention zero padding"], [8 * 16])

    def test_updates_touch_every_parameter_once_over_all_ranks(self):
        s = step()
        adam = next(work for work in s.works() if work.name == "adam_atan2")

        self.assertEqual(adam.bytes * s.setting.ranks, 36 * sum(s.model.buckets()))

    def test_uneven_packs_are_refused(self):
        with mock.patch.dict(main.GPUS, XL=12), self.assertRaises(ValueError):
            step()


class Exchange(unittest.TestCase):
    def test_a_rank_receives_all_but_its_own_share(self):
        traffic = exchange.traffic([4096 * 64], 16, 8, 4, True)

        self.assertAlmostEqual(traffic.node_bytes + traffic.network_bytes, 4 * 4096 * 64 * 15 / 16)
        self.assertAlmostEqual(traffic.network_bytes, 4 * 4096 * 64 / 16)

    def test_large_buckets_travel_in_units(self):
        self.assertEqual([exchange.units(n, 16) for n in (4096, 1 << 23, (1 << 23) + 4096, 3 << 23)], [1, 1, 2, 3])

    def test_other_counts_are_refused(self):
        with self.assertRaises(ValueError):
            exchange.levels(6)


class Estimate(unittest.TestCase):
    def test_no_kernel_beats_its_floor(self):
        works = step().works()

        for m in machine.MACHINES:
            self.assertEqual([work.name for work in works
                              if estimate.kernel_seconds(work, m) < estimate.floor_seconds(work)], [])

    def test_machines_are_in_order(self):
        s = step()
        mfu = [estimate.estimate(s, s.works(), m).mfu for m in machine.MACHINES]

        self.assertEqual(mfu, sorted(mfu))
        self.assertLess(mfu[-1], 1)

    def test_needed_matrix_rate_gives_the_mfu(self):
        s = step()
        rate = estimate.needed_matrix_rate(s, s.works(), machine.MIDDLE, 0.4)
        other = dataclasses.replace(machine.MIDDLE, matrix=rate)

        self.assertAlmostEqual(estimate.estimate(s, s.works(), other).mfu, 0.4, places=6)
        self.assertIsNone(estimate.needed_matrix_rate(s, s.works(), machine.MIDDLE, 0.95))

    def test_waves_that_fill_the_machine_lose_nothing(self):
        self.assertEqual(machine.wave_efficiency(256 * 132, 128), 1.0)
        self.assertLess(machine.wave_efficiency(1536, 1536), 0.75)

    def test_every_remedy_names_kernels_that_exist_and_saves_time(self):
        s = step()
        works = s.works()
        for remedy in remedies.remedies():
            self.assertEqual(set(remedy.saved) - {work.name for work in works}, set())
            after, (other,) = remedies.apply(works, [machine.MIDDLE], remedy)
            self.assertLess(estimate.estimate(s, after, other).step,
                            estimate.estimate(s, works, machine.MIDDLE).step)


class Report(unittest.TestCase):
    def output(self, *arguments):
        with contextlib.redirect_stdout(io.StringIO()) as out, mock.patch.object(sys, "argv", ["gpu_account", *arguments]):
            main.main()
        return out.getvalue()

    def test_gpu_md_holds_the_output(self):
        self.assertIn(self.output().strip(), (ROOT / "validation" / "gpu.md").read_text(encoding="utf-8"))

    def test_json_adds_up(self):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder) / "account.json"
            self.output("B", "--json", str(file))
            account = json.loads(file.read_text())["B"]

        self.assertEqual(sum(work["launches"] for work in account["works"] if work["stream"] == "compute"),
                         account["totals"]["launches"])
        self.assertEqual([row["machine"] for row in account["estimates"]], ["pessimistic", "middle", "optimistic"])


if __name__ == "__main__":
    unittest.main()
