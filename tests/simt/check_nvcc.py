"""Compiles every .cu with nvcc, warnings as errors; fails on a kernel of the program that spills registers.
usage: check_nvcc.py NVCC HOST_COMPILER [ROOT]"""
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

FLAGS = ("-std=c++20 -O3 --expt-relaxed-constexpr -diag-suppress 554 -Werror all-warnings -Xptxas -v "
         "-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=[sm_90,compute_90]").split()
SPILL = re.compile(r"Compiling entry function '(\w+)'.*?(\d+) bytes spill stores, (\d+) bytes spill loads", re.DOTALL)


def compile_one(nvcc, host_compiler, root, source):
    """Returns (number of kernels and architectures, complaints)."""
    command = [nvcc, "-ccbin", host_compiler, *FLAGS, "-I.", "-Isrc", "-Itests", "-c", str(source), "-o", "/dev/null"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True)
    if result.returncode != 0:
        return 0, [f"{source} does not compile:\n{result.stdout}{result.stderr}"]
    kernels = SPILL.findall(result.stderr)
    complaints = [f"{source}: {name} spills: {stores} bytes of stores, {loads} of loads"
                  for name, stores, loads in kernels if (stores, loads) != ("0", "0")]
    return len(kernels), complaints


def main():
    nvcc, host_compiler = sys.argv[1:3]
    root = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).parents[2]).resolve()
    sources = sorted(path.relative_to(root) for folder in ("kernels", "tests/simt") for path in (root / folder).glob("*.cu"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = list(pool.map(lambda source: compile_one(nvcc, host_compiler, root, source), sources))
    complaints = [line for _, lines in results for line in lines]
    kernels = sum(count for count, _ in results)
    print("\n".join(complaints))
    print(f"{len(sources)} sources, {kernels} kernels (each once per architecture)")
    return 1 if complaints or kernels == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
