"""Fails on a header that does not compile alone. usage: check_headers.py BUILD_FOLDER [ROOT]"""
import pathlib
import re
import sys

from check_includes import room_of_file
from compile_database import read_commands, run_all
from project_files import project_files


# Headers of kernels for CUDA: read as tests/simt compiles them, so that the toolkit is not needed.
CUDA_HEADER = re.compile(r"^kernels/(cuda_\w+|\w+_cuda)\.hpp$")


def cuda_arguments(root):
    return ["-DHRM_SIMT", "-Wno-unknown-pragmas", f"-I{root / 'tests/simt/toolkit'}", f"-I{root / 'tests'}"]


def main():
    build = pathlib.Path(sys.argv[1])
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2]).resolve()
    commands = read_commands(build, root)
    by_room = {room_of_file(source): arguments for source, arguments in commands.items() if source.suffix == ".cpp"}
    jobs = {}
    for name in project_files(root):
        room = room_of_file(name)
        if name.suffix != ".hpp" or room is None:
            continue
        # A room of headers only has no command of its own: the top room sees every library.
        arguments = by_room.get(room) or by_room["app"]
        if CUDA_HEADER.match(name.as_posix()):
            arguments = [*arguments, *cuda_arguments(root)]
        jobs[name.as_posix()] = ([*arguments, "-fsyntax-only", "-x", "c++", "-"], f'#include "{root / name}"\n')
    failed = run_all(jobs)
    for name, output in failed:
        print(f"{name} does not compile alone:\n{output}")
    print(f"{len(jobs) - len(failed)} of {len(jobs)} headers compile alone")
    return 1 if failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
