"""Fails on a finding of the pinned clang-tidy in any source of the program.
usage: check_tidy.py CLANG_TIDY BUILD_FOLDER [ROOT]"""
import collections
import pathlib
import sys
import tempfile

from check_includes import room_of_file
from compile_database import read_commands, run_all

ALL_OF_US = "--header-filter=.*/(src|kernels|io)/.*"  # a group's sources are headers to clang-tidy
# Names of two sources that meet in a group only. (The build warns of those that meet in one source.)
MEETINGS = "-Wno-shadow"


def groups_of(commands):
    """Lists of sources of one folder with the same arguments."""
    groups = collections.defaultdict(list)
    for name, arguments in commands.items():
        groups[name.parent, tuple(arguments)].append(name)
    return list(groups.values())


def run_groups(tidy, root, commands, groups):
    """Every group as one source, so that its headers are read once. Returns the sources to look at again: a group
    that has no finding has none, of another those that findings name go alone and the others together once more."""
    alone, again = [], []
    with tempfile.TemporaryDirectory() as folder:
        jobs = {}
        for number, group in enumerate(groups):
            together = pathlib.Path(folder, f"{number}.cpp")
            together.write_text("".join(f'#include "{root / name}"  // NOLINT\n' for name in group), encoding="utf-8")
            jobs[number] = ([tidy, "--quiet", ALL_OF_US, f"--config-file={root / '.clang-tidy'}", str(together), "--",
                             *commands[group[0]][1:], MEETINGS], "")
        for number, output in run_all(jobs):
            named = [name for name in groups[number] if f"{root / name}:" in output] or groups[number]
            alone += named
            again.append([name for name in groups[number] if name not in named])
    return alone, [group for group in again if group]


def main():
    tidy, build = sys.argv[1], pathlib.Path(sys.argv[2])
    root = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).parents[2]).resolve()
    commands = {name: arguments for name, arguments in read_commands(build, root).items() if room_of_file(name)}
    # A source that includes itself for every kind of processor cannot share a file with others.
    alone = [name for name in commands if "HWY_TARGET_INCLUDE" in (root / name).read_text(encoding="utf-8")]
    groups = groups_of({name: arguments for name, arguments in commands.items() if name not in alone})
    while groups:
        named, groups = run_groups(tidy, root, commands, groups)
        alone += named
    # With -p clang-tidy would read a source once for each command that it has.
    failed = run_all({name.as_posix(): ([tidy, "--quiet", str(root / name), "--", *commands[name][1:]], "")
                      for name in alone})
    for name, output in failed:
        print(f"{name}:\n{output}")
    print(f"{len(commands) - len(failed)} of {len(commands)} sources have no finding")
    return 1 if failed or not commands else 0


if __name__ == "__main__":
    sys.exit(main())
