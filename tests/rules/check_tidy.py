"""Fails on a finding of the pinned clang-tidy in any source of the program.
usage: check_tidy.py CLANG_TIDY BUILD_FOLDER [ROOT]"""
import pathlib
import sys

from check_includes import room_of_file
from compile_database import read_commands, run_all


def main():
    tidy, build = sys.argv[1], pathlib.Path(sys.argv[2])
    root = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).parents[2]).resolve()
    # With -p clang-tidy would read a source once for each command that it has.
    jobs = {name.as_posix(): ([tidy, "--quiet", str(root / name), "--", *arguments[1:]], "")
            for name, arguments in read_commands(build, root).items() if room_of_file(name)}
    failed = run_all(jobs)
    for name, output in failed:
        print(f"{name}:\n{output}")
    print(f"{len(jobs) - len(failed)} of {len(jobs)} sources have no finding")
    return 1 if failed or not jobs else 0


if __name__ == "__main__":
    sys.exit(main())
