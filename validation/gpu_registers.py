#!/usr/bin/env python3
"""Compiles the kernels for A100 and H100 and looks at what the compiler made of them.

  python3 validation/gpu_registers.py [--nvcc NVCC] [--host-compiler CXX] [--write] [FILE.cu …]

Fails on a kernel that spills registers, on an attention kernel for tensor cores whose PTX lacks mma.sync, ldmatrix or
cp.async, and on a difference from gpu_registers.md where that was written by the same nvcc; --write writes it anew.
No GPU is needed.
"""
import argparse
import collections
import concurrent.futures
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
REPORT = ROOT / "validation" / "gpu_registers.md"
FLAGS = ("-std=c++20 -O3 --expt-relaxed-constexpr -diag-suppress 554 -Werror all-warnings -Xptxas -v -DHRM_HAVE_CUDA "
         "-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90] -I. -Isrc").split()
ARCHITECTURES = ("sm_80", "sm_90")
TENSOR_CORE_KERNEL = re.compile(r"(forward_kernel|keys_kernel|queries_kernel)<(\d+)>")  # of a head size
INSTRUCTIONS = ("mma.sync", "ldmatrix", "cp.async.cg.shared.global")
REGISTER_FILE, MOST_THREADS, SHARED_OF_SM = 65536, 2048, 227 * 1024  # of a multiprocessor of sm_90

COMPILED = re.compile(r"Compiling entry function '(\w+)' for '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
                      r"(\d+) bytes spill loads.*?Used (\d+) registers(?:[^\n]*?(\d+) bytes smem)?", re.DOTALL)
ENTRY = re.compile(r"^(?:\.weak |\.visible )?\.entry (\w+)\(", re.MULTILINE)


@dataclasses.dataclass
class Kernel:
    """One instance of a kernel: registers and spilled bytes by architecture."""
    source: str
    name: str
    registers: dict = dataclasses.field(default_factory=dict)
    spilled: dict = dataclasses.field(default_factory=dict)
    shared: int = 0   # static [bytes]
    threads: int = 0  # of a block at most
    lacks: tuple = ()  # instructions


def run(command, **options):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


def short_names(mangled):
    """Mangled -> readable, without namespaces and parameter lists."""
    plain = run(["c++filt"], input="\n".join(mangled)).stdout.splitlines()
    return {raw: shortened(name) for raw, name in zip(mangled, plain)}


def shortened(name):
    name = re.sub(r"^void ", "", name)
    name = re.sub(r"\(anonymous namespace\)::|_GLOBAL__N__\w+::|hrm::|kernels::|cuda::|attention::", "", name)
    depth = 0
    for at, letter in enumerate(name):  # the parameter list begins at the first parenthesis outside <>
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:at]
    return name


def ptx_entries(text):
    """Mangled name -> text of every kernel."""
    starts = [(match.group(1), match.start()) for match in ENTRY.finditer(text)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    return {name: text[start:end] for (name, start), end in zip(starts, ends)}


def parse(source, log, ptx):
    """Kernels of one source from nvcc's messages and the PTX of the newest architecture."""
    kernels = {}
    for mangled, arch, _, stores, loads, registers, shared in COMPILED.findall(log):
        kernel = kernels.setdefault(mangled, Kernel(source, mangled))
        kernel.registers[arch] = int(registers)
        kernel.spilled[arch] = int(stores) + int(loads)
        kernel.shared = max(kernel.shared, int(shared or 0))
    names = short_names(list(kernels))
    entries = ptx_entries(ptx)
    for mangled, kernel in kernels.items():
        kernel.name = names[mangled]
        text = entries.get(mangled, "")
        bound = re.search(r"\.maxntid (\d+)", text)
        kernel.threads = int(bound.group(1)) if bound else 0
        if TENSOR_CORE_KERNEL.fullmatch(kernel.name):
            kernel.lacks = tuple(word for word in INSTRUCTIONS if word not in text)
    return sorted(kernels.values(), key=lambda kernel: kernel.name)


def compile_one(options, source):
    with tempfile.TemporaryDirectory() as folder:
        result = run([options.nvcc, "-ccbin", options.host_compiler, *FLAGS, "--keep", "--keep-dir", folder, "-c",
                      str(source), "-o", f"{folder}/kernel.o"])
        if result.returncode != 0:
            sys.exit(f"{source} does not compile:\n{result.stdout}{result.stderr}")
        ptx = max(pathlib.Path(folder).glob("*.ptx"), key=lambda path: ("compute_90" in path.name, path.name))
        return parse(source.name, result.stderr, ptx.read_text())


def complaints(kernels):
    found = []
    for kernel in kernels:
        for arch, spilled in kernel.spilled.items():
            if spilled:
                found.append(f"{kernel.source}: {kernel.name} spills {spilled} bytes for {arch}")
        if set(kernel.registers) != set(ARCHITECTURES):
            found.append(f"{kernel.source}: {kernel.name} was not compiled for {' and '.join(ARCHITECTURES)}")
        for word in kernel.lacks:
            found.append(f"{kernel.source}: the PTX of {kernel.name} holds no {word}")
    return found


def blocks_by_registers(registers, threads):
    """Blocks that the register file of a multiprocessor of sm_90 holds; registers are given out to warps in 256s."""
    per_warp = -(-registers * 32 // 256) * 256
    return min(REGISTER_FILE // per_warp // (threads // 32), MOST_THREADS // threads)


def dynamic_shared(name):
    """Bytes of an attention kernel for tensor cores: tiles of 128 rows (dk, dv: 64, from head size 64 on), steps of
    32, rows of head + 8 bf16 elements; dk, dv also 4 x 32 floats."""
    kernel, head = TENSOR_CORE_KERNEL.fullmatch(name).groups()
    head = int(head)
    rows = {"forward_kernel": 128, "queries_kernel": 256, "keys_kernel": 256 if head <= 32 else 128}[kernel]
    return (rows + 4 * 32) * (head + 8) * 2 + (4 * 32 * 4 if kernel == "keys_kernel" else 0)


def occupancy_rows(kernels):
    rows = []
    for kernel in kernels:
        if TENSOR_CORE_KERNEL.fullmatch(kernel.name):
            shared = dynamic_shared(kernel.name)
            by_registers = blocks_by_registers(kernel.registers["sm_90"], kernel.threads)
            by_shared = SHARED_OF_SM // (shared + 1024)  # 1 KiB of every block is the system's
            blocks = min(by_registers, by_shared)
            rows.append(f"| `{kernel.name}` | {kernel.threads} | {kernel.registers['sm_90']} | {shared} | {by_registers} | "
                        f"{by_shared} | {blocks * kernel.threads // 32} |")
    return rows


def report(version, kernels):
    lines = ["# Registers of the CUDA kernels", "",
             f"Written by `validation/gpu_registers.py --write` with {version}; no kernel spills. Registers of a thread,",
             "static shared memory of a block [bytes], threads of a block at most.", "",
             "## Attention on tensor cores: what a multiprocessor of sm_90 holds", "",
             "| kernel | threads | registers | shared [bytes] | blocks by registers | blocks by shared memory | warps |",
             "| --- | ---: | ---: | ---: | ---: | ---: | ---: |", *occupancy_rows(kernels), "", "## All kernels", "",
             "| source | kernel | threads | sm_80 | sm_90 | shared |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for kernel in kernels:
        lines.append(f"| {kernel.source} | `{kernel.name}` | {kernel.threads} | {kernel.registers['sm_80']} | "
                     f"{kernel.registers['sm_90']} | {kernel.shared} |")
    return "\n".join(lines) + "\n"


def differences(new, old):
    """Lines that differ; none where another compiler wrote the old report."""
    version = re.compile(r"with (.*?);")
    if version.search(new).group(1) != version.search(old).group(1):
        return []
    count = collections.Counter(new.splitlines())
    count.subtract(old.splitlines())
    return [f"{'+' if n > 0 else '-'} {line}" for line, n in count.items() if n != 0]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="only these sources, without comparison")
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--host-compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--write", action="store_true", help="write gpu_registers.md")
    return parser.parse_args()


def main():
    options = parse_arguments()
    sources = [path.resolve() for path in options.files] or sorted((ROOT / "kernels").glob("*_cuda.cu"))
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        kernels = [kernel for found in pool.map(lambda source: compile_one(options, source), sources) for kernel in found]
    problems = complaints(kernels) or ([] if kernels else ["no kernel was found"])
    release = re.search(r"release [\d.]+, V[\d.]+", run([options.nvcc, "--version"]).stdout)
    text = report(f"nvcc {release.group(0) if release else 'of an unknown release'}", kernels) if not problems else ""
    if not problems and options.write:
        REPORT.write_text(text, encoding="utf-8")
    elif not problems and not options.files:
        problems = differences(text, REPORT.read_text(encoding="utf-8"))
    print("\n".join(problems) or f"{len(kernels)} kernels: no spills, tensor-core instructions where they belong")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
