"""Numbers against references: golden files, kernels against the host, the sanitizers of CUDA."""
import pathlib
import re
import shutil

from gpu.runner import Failed, ROOT, Skipped


def golden_folder(options):
    if not options.data:
        raise Skipped("HRM_TEST_DATA names no folder with golden/")
    folder = pathlib.Path(options.data) / "golden"
    files = sorted(path for path in folder.glob("*") if path.suffix in (".h5", ".json"))
    if not files:
        raise Skipped(f"{folder} holds no golden files")
    return files


def validate_command(options, precision, files):
    return [options.hrm, "validate", "--precision", precision, "--set", "device.type=cuda", *files]


def verdict_lines(text):
    """(quantities compared, lines of those that failed)."""
    lines = [line for line in text.splitlines() if re.search(r"\s(PASS|FAIL)$", line)]
    return len(lines), [line for line in lines if line.endswith("FAIL")]


def golden(runner, options):
    def work(precision, file):
        done = runner.run(validate_command(options, precision, [file]), 120 * options.patience)
        count, failed = verdict_lines(done.out)
        if done.code != 0 or failed or count == 0:
            raise Failed(failed[0].strip() if failed else f"exit code {done.code}: {done.last_line()}")
        return f"{count} quantities", {"quantities": count}

    try:
        files = golden_folder(options)
    except Skipped as reason:
        runner.check("golden", "all files", lambda: (_ for _ in ()).throw(reason))
        return
    for precision in ("fp32", "bf16"):
        for file in files:
            runner.check("golden", f"{file.name} {precision}", lambda: work(precision, file))


def kernels(runner, options):
    """The tests of kernels/ on the device, against float64; matrix products are in the golden files."""
    def work():
        if not options.kernel_tests.exists():
            raise Skipped(f"{options.kernel_tests} is not there")
        done = runner.expect(0, [options.kernel_tests, "--gtest_brief=1"], 120 * options.patience)
        return (count := re.search(r"\[  PASSED  \] (\d+ tests)", done.out).group(1)), {"tests": int(count.split()[0])}

    runner.check("kernels", "against float64", work)


def sanitizer(runner, options):
    """compute-sanitizer over what golden files reach, all of them for accesses, and over the kernel tests."""
    def work(tool, precision):
        program = shutil.which("compute-sanitizer")
        if program is None:
            raise Skipped("compute-sanitizer is not there")
        files = [file for file in golden_folder(options)
                 if file.suffix == ".h5" and (tool == "memcheck" or file.name in ("ops.h5", "hrm_prefixlm_bp5.h5"))]
        return checked([program, "--tool", tool, "--error-exitcode", "99", "--print-limit", "5",
                        *validate_command(options, precision, files)])

    def checked(command):
        done = runner.run(command, 300 * options.patience)
        if done.code != 0:
            summary = re.findall(r"(?:ERROR|RACECHECK) SUMMARY: .*", done.out + done.err)
            raise Failed(summary[-1] if summary else f"exit code {done.code}: {done.last_line()}")
        return "", {}

    def kernel_work(tool):
        program = shutil.which("compute-sanitizer")
        if program is None:
            raise Skipped("compute-sanitizer is not there")
        if not options.kernel_tests.exists():
            raise Skipped(f"{options.kernel_tests} is not there")
        return checked([program, "--tool", tool, "--error-exitcode", "99", "--print-limit", "5", options.kernel_tests,
                        "--gtest_brief=1"])

    for tool in ("memcheck", "racecheck", "initcheck", "synccheck"):
        for precision in ("fp32", "bf16"):
            runner.check("sanitizer", f"{tool} {precision}", lambda: work(tool, precision))
    for tool in ("racecheck", "synccheck"):  # their memory is one block, in which no access is out of bounds
        runner.check("sanitizer", f"{tool} of the kernel tests", lambda: kernel_work(tool))


def build(runner, options):
    def work():
        if options.given_hrm:
            raise Skipped(f"{options.hrm} was given")
        runner.expect(0, ["cmake", "--preset", "cuda", "-DHRM_BUILD_TESTS=ON", *options.cmake], 120 * options.patience)
        runner.expect(0, ["cmake", "--build", "--preset", "cuda", "-j"], 900 * options.patience)
        return "", {}

    runner.check("build", "cmake --preset cuda", work)

    def version():
        return "", {"version": runner.expect(0, [options.hrm, "--version"], 30 * options.patience).out}

    runner.check("build", "hrm --version", version)


def registers(runner, options):
    def work():
        if shutil.which("nvcc") is None:
            raise Skipped("nvcc is not on PATH")
        return runner.expect(0, ["python3", ROOT / "validation" / "gpu_registers.py"],
                             600 * options.patience).out.strip(), {}

    runner.check("registers", "no spills, tensor-core instructions", work)
