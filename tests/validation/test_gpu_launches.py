"""Launches and bytes of one training step over the SIMT shim, kernel by kernel, against the account.

LAUNCHES_PROGRAM names the program over the shim (hrm_simt), LAUNCHES_BYTES the one that counts bytes too
(hrm_simt_bytes), LAUNCHES_MPIEXEC the launcher. Matrix products are no launches there.
"""
import collections
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "validation"))
sys.path.insert(0, str(ROOT / "tests" / "cli"))
from gpu_account import attention
from gpu_account.model import read_model
from gpu_account.step import Setting, Step
from hrm_cli import MPI_ENVIRONMENT

PROGRAM = os.environ.get("LAUNCHES_PROGRAM", "")
BYTES_PROGRAM = os.environ.get("LAUNCHES_BYTES", "")
MPIEXEC = os.environ.get("LAUNCHES_MPIEXEC", "mpirun")
SLOTS, PACKS, VOCABULARY, STOPPED = 512, 2, 512, 75  # slots: some token occurs more than 32 times in every pack
SETTINGS = {"train.packs": PACKS, "train.pack_tokens": SLOTS, "model.layers": 4, "model.hidden_size": 32,
            "model.num_heads": 2, "model.max_seq_len": 64, "model.bp_warmup_ratio": 0, "model.vocab_size": VOCABULARY,
            "train.precision": "bf16", "device.type": "cuda", "device.threads": 1}

# What of the account a kernel of the program is; several where the type alone does not tell them apart.
KERNELS = {"Add<float>": ["tree_add of own packs", "tree_add of arrivals"],
           "Copy<bf16>": ["copy of weights"], "Zero<bf16>": ["zero rows"], "Zero<float>": ["zero gradient"],
           "Cast<bf16>": ["cast of weights"], "Gather<bf16>": ["gather_rows"], "Scatter<bf16>": ["scatter_rows"],
           "Lookup<bf16>": ["embedding_forward"], "SumChunk<bf16>": ["embedding_backward sums"],
           "JoinChunks": ["embedding_backward joins"], "Forward<bf16>": ["head_gate_forward", "swiglu_forward"],
           "Backward<bf16>": ["head_gate_backward", "swiglu_backward"], "norm_forward": ["rmsnorm_forward", "add_rmsnorm_forward", "add_row_rmsnorm_forward"],
           "norm_backward": ["rmsnorm_backward"], "rotate": ["rope"], "forward_kernel": ["attention_forward"],
           "zero_padding_kernel": ["attention zero padding"], "row_sums_kernel": ["attention row sums"],
           "keys_kernel": ["attention dk dv"], "queries_kernel": ["attention dq"], "entropy_rows": ["cross_entropy"],
           "sum_rows": ["pack_sums"], "sum_squares": ["square sums"], "update_tiles": ["adam_atan2"]}

WIDTH, LANES = SETTINGS["model.hidden_size"], 32
EXACT = ["Add<float>", "Copy<bf16>", "Zero<bf16>", "Zero<float>", "Cast<bf16>", "Forward<bf16>",
         "Backward<bf16>", "norm_forward", "norm_backward"]
# Every thread asks for its row's token, every block writes a sum: the account leaves them out.
NEARLY = ["Lookup<bf16>", "sum_squares"]


def kernel_name(name):
    """Kernel<…> as the shim writes it -> the word that KERNELS knows."""
    name = re.sub(r"\(anonymous namespace\)::|\w+::", "", name)
    body = re.search(r"map_packs<(\w+(?:<\w+>)?)", name)
    return body.group(1) if body else re.match(r"\w+", name).group(0)


def sums(count):
    rng = random.Random(3)
    for _ in range(count):
        a, b = rng.randrange(1000), rng.randrange(1000)
        yield {"instruction": f"{a} + {b} =", "response": str(a + b)}


@unittest.skipUnless(PROGRAM, "LAUNCHES_PROGRAM names no program")
class Launches(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.temporary.cleanup)
        cls.folder = pathlib.Path(cls.temporary.name)
        text = cls.folder / "train.jsonl"
        text.write_text("".join(json.dumps(row) + "\n" for row in sums(300)))
        tokenizer = cls.folder / "tokenizer.json"
        cls.run_program(0, "tokenizer", "train", "--input", text, "--vocab-size", 300, "--out", tokenizer)
        cls.run_program(0, "prepare", "--input", text, "--tokenizer", tokenizer, "--out", cls.folder / "shards")

    @classmethod
    def run_program(cls, code, *arguments, program=PROGRAM, ranks=1, **environment):
        launcher = [MPIEXEC, "-n", str(ranks)] if ranks > 1 else []
        done = subprocess.run([*launcher, program, *map(str, arguments)], capture_output=True, text=True, timeout=900,
                              env={**os.environ, **MPI_ENVIRONMENT, **environment})
        if done.returncode != code:
            raise AssertionError(f"{arguments[:2]}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")

    def counts(self, ranks, steps, variable="HRM_SIMT_LAUNCHES", slots=SLOTS, **options):
        """Launches, or bytes, of all ranks in a run of so many steps, by kernel."""
        place = self.folder / f"{variable}-{ranks}-{steps}"
        place.mkdir()
        settings = {**SETTINGS, "train.pack_tokens": slots, "data.path": self.folder / "shards", "checkpoint.dir": place / "run"}
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        self.run_program(STOPPED, "train", "--config", ROOT / "configs" / "tiny.cfg", *words, "--stop-after", steps,
                         ranks=ranks, **{variable: str(place / "counts")}, **options)
        counts = collections.Counter()
        for file in place.glob("counts.*"):
            for line in file.read_text().splitlines():
                numbers, name = re.fullmatch(r"([\d ]+) (\D.*)", line).groups()
                counts[kernel_name(name)] += sum(map(int, numbers.split()))
        return counts

    def one_step(self, ranks, **options):
        """Those of the second step alone."""
        counts = self.counts(ranks, 2, **options)
        counts.subtract(self.counts(ranks, 1, **options))
        return {name: count for name, count in counts.items() if count}

    def account(self, ranks, field="launches", slots=SLOTS):
        """Launches, or bytes, of all ranks that the account expects; every pack has padding."""
        words = [(*key.split("."), value) for key, value in SETTINGS.items()] + [("train", "pack_tokens", slots)]
        model = read_model(ROOT / "configs" / "tiny.cfg", "tiny", words)
        samples = attention.fill(slots, 11, 5)
        step = Step(model, Setting(samples, ranks))
        launches = collections.Counter()
        for work in step.works():
            launches[work.name] += getattr(work, field) * ranks
        return launches

    def compare(self, ranks):
        counted, expected = self.one_step(ranks), self.account(ranks)
        unknown = set(counted) - set(KERNELS)
        self.assertEqual(unknown, set(), "kernels that the account does not know")
        found = {name: counted.get(name, 0) for name in KERNELS}
        wanted = {name: sum(expected[work] for work in works) for name, works in KERNELS.items()}
        padded = wanted["zero_padding_kernel"] // PACKS  # of one pack
        self.assertIn(found.pop("zero_padding_kernel"), [padded * packs for packs in range(PACKS + 1)])
        wanted.pop("zero_padding_kernel")
        self.assertEqual(found, wanted)

    @unittest.skipUnless(BYTES_PROGRAM, "LAUNCHES_BYTES names no program")
    def test_bytes(self):
        slots = 64
        counted = self.one_step(1, variable="HRM_SIMT_BYTES", program=BYTES_PROGRAM, slots=slots)
        expected, launches = self.account(1, "bytes", slots), self.account(1, slots=slots)
        state = slots * WIDTH * 2
        extra = {"norm_forward": launches["add_row_rmsnorm_forward"] * state,  # the row, again for every row
                 "norm_backward": launches["rmsnorm_backward"] * slots * (LANES - 1) * 4}  # rstd, to every thread
        wanted = {name: sum(expected[work] for work in KERNELS[name]) + extra.get(name, 0) for name in KERNELS}
        self.assertEqual({name: counted.get(name, 0) for name in EXACT}, {name: wanted[name] for name in EXACT})
        for name in NEARLY:
            self.assertGreaterEqual(counted[name], wanted[name], name)
            self.assertLessEqual(counted[name], 1.15 * wanted[name], name)

    def test_one_rank(self):
        self.compare(1)

    def test_two_ranks(self):
        self.compare(2)


if __name__ == "__main__":
    unittest.main()
