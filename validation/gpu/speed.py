"""Rates: matrix products and copies alone, whole steps of B, L and XL with MFU, what a profiler says."""
import pathlib
import re
import shutil
import sys

from gpu import kernel_times
from gpu.runner import Failed, ROOT, Skipped

sys.path.insert(0, str(ROOT / "validation"))
from gpu_account import attention, estimate, machine as assumed
from gpu_account.model import read_model
from gpu_account.step import Setting, Step

MEMORY_TOLERANCE = 0.05  # of the prediction, plan/memory.hpp
FLOPS_TOLERANCE = 1e-6
OUT_OF_MEMORY = re.compile(r"out of memory|no device memory|cannot allocate|cannot reserve", re.IGNORECASE)
LARGEST_NEED = 79e9      # bytes: a GPU with less may be too small for L and XL


def step_command(options, config, ranks):
    command = [options.hrm, "bench", "step", "--json", "--config", config, "--seconds", options.seconds, "--sequence",
               options.sequence, "--prefix", options.prefix, "--set", "device.type=cuda", "--set", f"train.packs={ranks}",
               *options.bench_settings]
    return [*options.launcher, "-n", ranks, *command] if ranks > 1 else command


def step_limit(options):
    return (90 + 4 * options.seconds) * options.patience


def check_step(done, options):
    """Failed where a measured step failed, Skipped where the GPU is too small for it."""
    if done.code == 0:
        return
    if OUT_OF_MEMORY.search(done.err) and 0 < options.memory < LARGEST_NEED:
        raise Skipped(f"too large for {options.memory / 1e9:.0f} GB")
    raise Failed(f"exit code {done.code}: {done.last_line()}")


def account_of(config, measured, options, ranks):
    """The account's step for what was measured; None for sizes that it does not know (ranks that are no power of 2)."""
    if ranks & (ranks - 1):
        return None
    words = [word.split("=", 1) for word in options.bench_settings if "=" in word]
    settings = [(*key.split("."), value) for key, value in words] + [("train", "packs", ranks)]
    model = read_model(config, pathlib.Path(config).stem, settings)
    samples = attention.fill(model.slots, options.sequence, options.prefix)
    return Step(model, Setting(samples, ranks, element=2 if measured["precision"] == "bf16" else 4))


def memory_verdict(memory):
    """Note and numbers; Failed where the sums of held and predicted bytes differ by more than the prediction promises."""
    held = sum(part["held"] for part in memory.values())
    predicted = sum(part["predicted"] for part in memory.values())
    if abs(held - predicted) > MEMORY_TOLERANCE * held:
        raise Failed(f"holds {held / 1e9:.3f} GB, predicted were {predicted / 1e9:.3f}")
    return (f"{held / 1e9:.3g} GB, predicted {predicted / 1e9:.3g}", {"held_bytes": held, "predicted_bytes": predicted})


def rates(measured, options, step, ranks):
    """MFU by model FLOPs and by executed FLOPs, beside what the account expected."""
    seconds = measured["seconds_per_step"]
    peak = options.peak
    numbers = {"tokens_per_second_per_gpu": measured["tokens_per_second"] / ranks, "seconds_per_step": seconds,
               "mfu": measured["model_flops_per_second"] / ranks / peak if peak else None}
    if step is not None:
        works = step.works()
        model = sum(work.model_flops for work in works)
        if abs(model * ranks / seconds / measured["model_flops_per_second"] - 1) > FLOPS_TOLERANCE:
            raise Failed(f"the program counts {measured['model_flops_per_second'] * seconds / ranks:.4g} FLOPs of a GPU, "
                         f"the account {model:.4g}")
        executed = sum(work.executed_flops for work in works)
        numbers["hfu"] = executed / seconds / peak if peak else None
        numbers["account_seconds"] = {m.name: estimate.estimate(step, works, m).step for m in assumed.MACHINES}
    return numbers


def bench(runner, options):
    def work(config, ranks):
        done = runner.run(step_command(options, config, ranks), step_limit(options))
        check_step(done, options)
        measured = done.json()
        memory[config, ranks] = measured["memory"]
        numbers = {"bench": measured, **rates(measured, options, account_of(config, measured, options, ranks), ranks)}
        percent = "unknown peak" if numbers["mfu"] is None else f"MFU {100 * numbers['mfu']:.1f} %"
        executed = f", executed {100 * numbers['hfu']:.1f} %" if numbers.get("hfu") else ""
        return f"{numbers['tokens_per_second_per_gpu']:.0f} slots/s per GPU, {percent}{executed}", numbers

    def held(config, ranks):
        if (config, ranks) not in memory:
            raise Skipped("the step was not measured")
        return memory_verdict(memory[config, ranks])

    memory = {}
    for config in options.configs:
        for ranks in sorted({1, options.gpus}):
            name = f"{pathlib.Path(config).stem}, {ranks} GPU"
            runner.check("bench", name, lambda: work(config, ranks))
            runner.check("bench", f"memory of {name}", lambda: held(config, ranks))


def gemm(runner, options):
    def work(config):
        done = runner.expect(0, [options.hrm, "bench", "gemm", "--json", "--config", config, "--rows", options.rows,
                                 "--seconds", "0.3", "--set", "device.type=cuda", *options.bench_settings],
                             120 * options.patience)
        products = done.json()["products"]
        flops = sum(p["flops"] for p in products)
        rate = flops / sum(p["flops"] / p["flops_per_second"] for p in products)
        slowest = min(products, key=lambda p: p["flops_per_second"])
        return (f"{rate / 1e12:.3g} TFLOP/s over all, slowest {slowest['weight']} {slowest['kind']} "
                f"{slowest['flops_per_second'] / 1e12:.3g}"), {"flops_per_second": rate, "products": products}

    for config in options.configs[-1:]:
        runner.check("gemm", f"products of {pathlib.Path(config).stem}", lambda: work(config))


def copies(runner, options):
    def work():
        nvcc = shutil.which("nvcc")
        if nvcc is None:
            raise Skipped("nvcc is not on PATH")
        if options.given_hrm and options.gpus_found == 0:
            raise Skipped("no GPU")
        program = runner.out / "copy_rate"
        runner.expect(0, [nvcc, "-O2", "-o", program, ROOT / "validation" / "gpu" / "copy_rate.cu"], 120 * options.patience)
        numbers = runner.expect(0, [program], 60 * options.patience).json()
        return ", ".join(f"{key.replace('_', ' ')} {value / 1e9:.0f} GB/s" for key, value in numbers.items()), numbers

    runner.check("copies", "memory of a GPU, host to GPU, GPU to host", work)


def toolkit():
    """Folder of the CUDA toolkit, by its compiler."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        raise Skipped("nvcc is not on PATH")
    return pathlib.Path(nvcc).resolve().parents[1]


def trace(runner, options, config):
    """Where the time of a step goes, by CUPTI: no profiler is needed."""
    cuda = toolkit()
    library, rows = runner.out / "libkernel_trace.so", runner.out / f"trace-{pathlib.Path(config).stem}.csv"
    includes = [word for folder in (cuda / "include", cuda / "extras" / "CUPTI" / "include") for word in ("-I", folder)]
    links = [word for folder in (cuda / "lib64", cuda / "extras" / "CUPTI" / "lib64") for word in ("-L", folder)]
    if shutil.which("g++") is None:
        raise Skipped("g++ is not on PATH")
    made = runner.run(["g++", "-O2", "-shared", "-fPIC", *includes, "-o", library,
                       ROOT / "validation" / "gpu" / "kernel_trace.cpp", *links, "-lcupti"], 60 * options.patience)
    if made.code != 0:
        raise Skipped(f"CUPTI is not there: {made.last_line()}")
    done = runner.run(step_command(options, config, 1), step_limit(options),
                      environment={"CUDA_INJECTION64_PATH": str(library), "KERNEL_TRACE": str(rows)})
    check_step(done, options)
    if not rows.exists():
        raise Failed("the program left no trace")
    step = kernel_times.summary(kernel_times.read(rows))
    rows.unlink()
    parts = ", ".join(f"{name} {1000 * seconds:.1f}" for name, (seconds, _) in step["operations"].items())
    return (f"{1000 * step['seconds']:.1f} ms, busy {1000 * step['busy']:.1f}, {step['launches']} launches: {parts}", step)


def profile(runner, options):
    """Kernels of a step by operation, and what nsys and ncu say of a small one; files beside the logs."""
    command = step_command(options, options.configs[0], 1)

    def nsys():
        program = shutil.which("nsys")
        if program is None:
            raise Skipped("nsys is not there")
        report = runner.out / "step"
        runner.expect(0, [program, "profile", "--force-overwrite", "true", "-t", "cuda,nvtx", "-o", report, *command],
                      180 * options.patience)
        done = runner.expect(0, [program, "stats", "--report", "cuda_gpu_kern_sum", "--format", "csv",
                                 f"{report}.nsys-rep"], 120 * options.patience)
        (runner.out / "kernels.csv").write_text(done.out)
        return "kernels.csv", {"kernels": done.out.splitlines()[:40]}

    def ncu():
        program = shutil.which("ncu")
        if program is None:
            raise Skipped("ncu is not there")
        done = runner.run([program, "--set", "basic", "-k", "regex:forward_kernel|keys_kernel|queries_kernel|norm_forward",
                           "-c", "8", *command], 180 * options.patience)
        (runner.out / "ncu.txt").write_text(done.out)
        if "ERR_NVGPUCTRPERM" in done.out + done.err:
            raise Skipped("this user may not read the GPU's counters")
        if done.code != 0:
            raise Failed(f"exit code {done.code}: {done.last_line()}")
        return "ncu.txt", {}

    for config in options.configs:
        runner.check("profile", f"kernels of {pathlib.Path(config).stem}", lambda: trace(runner, options, config))
    runner.check("profile", "nsys", nsys)
    runner.check("profile", "ncu", ncu)
