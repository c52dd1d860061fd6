"""Runs on a small corpus: the same bits on any number of GPUs, restarts across CPU and GPU, answers of both, and what
a run of the first configuration does beside its measured step, with saves and without.
"""
import json
import pathlib
import shutil
import statistics

from gpu.runner import Failed, ROOT, Skipped

SAMPLES = 1500
STEPS = 6
STOPPED = 75
# Of losses of one step on CPU and GPU in fp32 after a few updates: roundings of different order, some updates apart.
LOSS_TOLERANCE = 1e-3
TINY = {"train.packs": 8, "model.bp_warmup_ratio": 0, "device.threads": 1}
JOINED = 16      # samples of the corpus in one of the long ones
RUN_STEPS = 100  # of a run that is timed …
WARM_UP = 10     # … that do not count
INTERVAL = 50    # between its saves


def settings(values):
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


class Corpus:
    """Arithmetic and Sudoku of the demo's corpus, as shards; made once."""

    def __init__(self, runner, options):
        self.runner, self.options = runner, options
        self.folder = runner.out / "corpus"
        self.shards = self.folder / "shards"

    def make(self):
        done = self.folder / "done"
        if done.exists():
            return self.shards
        words = self.folder / "no-words"
        words.mkdir(parents=True, exist_ok=True)
        for part in ("noun", "verb", "adj", "adv"):
            (words / f"data.{part}").write_text("")
        limit = 120 * self.options.patience
        self.runner.expect(0, ["python3", ROOT / "validation" / "demo_corpus.py", "--out", self.folder, "--wordnet", words,
                               "--puzzles", "50"], limit)
        lines = (self.folder / "train.jsonl").read_text().splitlines(keepends=True)
        text = self.folder / "small.jsonl"
        text.write_text("".join(lines[:: max(1, len(lines) // SAMPLES)]))
        joined = self.folder / "joined.jsonl"
        joined.write_text("".join(join_samples(lines[i:i + JOINED]) for i in range(0, len(lines), JOINED)))
        hrm, tokenizer = self.options.hrm, self.folder / "tokenizer.json"
        self.runner.expect(0, [hrm, "tokenizer", "train", "--input", text, "--vocab-size", "512", "--out", tokenizer], limit)
        for file, shards in ((text, self.shards), (joined, self.long_shards)):
            self.runner.expect(0, [hrm, "prepare", "--input", file, "--tokenizer", tokenizer, "--out", shards], limit)
        done.touch()
        return self.shards

    @property
    def long_shards(self):
        """Samples of some hundred tokens."""
        return self.folder / "long-shards"


def join_samples(lines):
    samples = [json.loads(line) for line in lines]
    return json.dumps({key: " ".join(sample[key] for sample in samples) for key in ("instruction", "response")}) + "\n"


class Runs:
    """Training runs of one corpus, by folder."""

    def __init__(self, runner, options):
        self.runner, self.options = runner, options
        self.corpus = Corpus(runner, options)

    def train(self, name, device, until, ranks=1, extra=None):
        """Trains `name` until step `until`; goes on where it ended. Returns the newest checkpoint."""
        folder = self.runner.out / "runs" / name
        values = {"data.path": self.corpus.make(), "checkpoint.dir": folder, "device.type": device, **TINY, **(extra or {}),
                  **self.options.train_set}
        command = [self.options.hrm, "train", "--config", ROOT / "configs" / "tiny.cfg", *settings(values), "--resume",
                   "auto", "--stop-after", until]
        if ranks > 1:
            command = [*self.options.launcher, "-n", ranks, *command]
        self.runner.expect(STOPPED, command, 120 * self.options.patience)
        return folder / "latest.h5"

    def same(self, a, b):
        done = self.runner.run([self.options.hrm, "inspect", "--diff", a, b], 60 * self.options.patience)
        if done.code != 0:
            first = done.out.splitlines()[0] if done.out else done.last_line()
            raise Failed(f"{a.parent.name} and {b.parent.name} differ: {first}")

    def rows(self, name):
        """What the run says of its steps."""
        lines = (self.runner.out / "runs" / name / "metrics.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if row.get("record") == "train"]

    def losses(self, name):
        """Loss by step."""
        return {row["step"]: row["loss"] for row in self.rows(name)}


def rank_counts(gpus):
    """1, 2, 4, … and all."""
    return sorted({2**i for i in range(gpus.bit_length())} | {gpus})


def parallel(runner, options):
    runs = Runs(runner, options)

    def data_parallel(precision, ranks):
        extra = {"train.precision": precision}
        first = runs.train(f"data-{precision}-1", "cuda", STEPS, extra=extra)
        if ranks == 1:
            return "", {}
        if ranks > options.gpus:
            raise Skipped(f"{options.gpus} GPU")
        runs.same(first, runs.train(f"data-{precision}-{ranks}", "cuda", STEPS, ranks, extra))
        return "the same bits as on 1", {}

    def tensor_parallel(ranks):
        if ranks > options.gpus:
            raise Skipped(f"{options.gpus} GPU")
        extra = {"parallel.tensor": 2, "train.precision": "fp32"}
        first = runs.train("tensor-2", "cuda", STEPS, 2, extra)
        compare_losses(runs, "tensor-2", "data-fp32-1")
        if ranks > 2:
            runs.same(first, runs.train(f"tensor-{ranks}", "cuda", STEPS, ranks, extra))
            return "the same bits as on 2", {}
        return "losses of one GPU", {}

    packs = int(options.train_set.get("train.packs", TINY["train.packs"]))
    for precision in ("fp32", "bf16"):
        for ranks in [count for count in rank_counts(options.gpus) if count <= packs]:
            runner.check("parallel", f"data, {precision}, {ranks} GPU", lambda: data_parallel(precision, ranks))
    for ranks in (2, 4):
        runner.check("parallel", f"tensor = 2, {ranks} GPU", lambda: tensor_parallel(ranks))


def compare_losses(runs, name, other):
    """Failed unless two runs have the same losses but for roundings. Returns the largest relative difference."""
    a, b = runs.losses(name), runs.losses(other)
    if a.keys() != b.keys() or not a:
        raise Failed(f"{name} logged steps {sorted(a)}, {other} {sorted(b)}")
    worst = max(abs(a[step] - b[step]) / abs(b[step]) for step in a)
    if not worst <= LOSS_TOLERANCE:
        raise Failed(f"losses of {name} and {other} differ by {worst:.2e}")
    return worst


def restart(runner, options):
    runs = Runs(runner, options)
    extra = {"train.precision": "fp32"}

    def across_devices():
        for until, device in ((2, "cpu"), (4, "cuda"), (6, "cpu")):
            latest = runs.train("cpu-gpu-cpu", device, until, extra=extra)
        runner.expect(0, [options.hrm, "inspect", latest, "--verify"], 60 * options.patience)
        runs.train("cpu", "cpu", 6, extra=extra)
        worst = compare_losses(runs, "cpu-gpu-cpu", "cpu")
        return f"losses within {worst:.1e} of the CPU's", {"largest_difference": worst}

    def exact():
        runs.train("gpu-twice", "cuda", 3, extra=extra)
        runs.same(runs.train("gpu-once", "cuda", 6, extra=extra), runs.train("gpu-twice", "cuda", 6, extra=extra))
        return "the same bits as without a restart", {}

    runner.check("restart", "CPU, GPU, CPU", across_devices)
    runner.check("restart", "GPU, stopped and resumed", exact)


def generation(runner, options):
    """In fp32, and from the same weights, a GPU says what the CPU says."""
    runs = Runs(runner, options)

    def answers(device, arguments):
        latest = runs.train("cpu", "cpu", 6, extra={"train.precision": "fp32"})
        command = [options.hrm, "generate", "--checkpoint", latest, "--set", f"device.type={device}", "--max-tokens", "12",
                   "--json", "--prompt", "47 + 38 =", *arguments]
        return runner.expect(0, command, 120 * options.patience).out

    def same(arguments):
        if answers("cuda", arguments) != answers("cpu", arguments):
            raise Failed("the replies differ")
        return "", {}

    runner.check("generation", "the most likely tokens", lambda: same([]))
    runner.check("generation", "drawn tokens", lambda: same(["--temperature", "1"]))


def runs(runner, options):
    """`hrm train` of the first configuration on one GPU: seconds of a step without saves and with one in their middle."""
    small = Runs(runner, options)
    config = pathlib.Path(options.configs[0])

    def timed(interval):
        small.corpus.make()
        name = f"{config.stem} every {interval}"
        values = {"data.path": small.corpus.long_shards, "checkpoint.dir": runner.out / "runs" / name,
                  "device.type": "cuda", "train.packs": 1, "train.max_steps": RUN_STEPS, "train.lr_warmup_steps": 5,
                  "train.log_interval": 1, "model.bp_warmup_ratio": 0, "checkpoint.interval_steps": interval,
                  "checkpoint.interval_minutes": 0, "checkpoint.keep_last": 1}
        runner.expect(0, [options.hrm, "train", "--config", config, *settings(values), *options.bench_settings],
                      300 * options.patience)
        rows = small.rows(name)[WARM_UP:]
        seconds = [row["seconds"] + row["seconds_checkpoint"] for row in rows]  # what a save held up comes extra
        means[interval] = statistics.mean(seconds)
        shutil.rmtree(runner.out / "runs" / name)
        tokens = sum(row["tokens_per_second"] * row["seconds"] for row in rows)
        return (f"{1000 * means[interval]:.1f} ms a step, {tokens / sum(seconds):.0f} tokens/s", {"seconds": seconds})

    def with_saves():
        note, numbers = timed(INTERVAL)
        if 0 not in means:
            return note, numbers
        return f"{note}, {means[INTERVAL] / means[0]:.3f} of without", numbers

    means = {}
    runner.check("runs", f"{config.stem} without saves", lambda: timed(0))
    runner.check("runs", f"{config.stem} with a save every {INTERVAL} steps", with_saves)


def remove_runs(out):
    """Runs of an earlier call would be resumed."""
    shutil.rmtree(pathlib.Path(out) / "runs", ignore_errors=True)
