"""compile_commands.json as {source path below the root: argument list}, and a small parallel runner."""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess

LAUNCHERS = ("ccache", "sccache", "distcc")


def read_commands(build, root):
    """Arguments without launcher, output and source; only sources below `root`. Of several commands for one source: a
    kernel's as C++ (tests/simt), any other's as the program has it."""
    commands = {}
    for entry in json.loads((pathlib.Path(build) / "compile_commands.json").read_text(encoding="utf-8")):
        source = pathlib.Path(entry["file"])
        if not source.is_relative_to(root) or source.is_relative_to(pathlib.Path(build)):
            continue
        arguments = shlex.split(entry["command"])
        if os.path.basename(arguments[0]) in LAUNCHERS:
            arguments = arguments[1:]
        cut = arguments.index("-o")
        name = source.relative_to(root)
        preferred = ("-DHRM_SIMT" in arguments) == (name.suffix == ".cu")
        if preferred or name not in commands:
            commands[name] = arguments[:cut]
    return commands


def run_all(jobs):
    """jobs: {label: (argument list, text for standard input)}. Returns [(label, output)] of those that failed."""
    def one(job):
        label, (arguments, text) = job
        result = subprocess.run(arguments, input=text, capture_output=True, text=True)
        return label, result.returncode, result.stdout + result.stderr
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return [(label, output) for label, code, output in pool.map(one, jobs.items()) if code != 0]
