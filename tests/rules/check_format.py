"""Fails on a source that the pinned clang-format would change. usage: check_format.py CLANG_FORMAT [ROOT]"""
import pathlib
import subprocess
import sys

from project_files import project_files


def main():
    formatter = sys.argv[1]
    root = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2]
    version = subprocess.run([formatter, "--version"], check=True, capture_output=True, text=True).stdout
    if " 14." not in version:
        print(f"{formatter} is {version.strip()}; the project's style is pinned to version 14")
        return 1
    sources = [str(root / name) for name in project_files(root) if name.suffix in {".cpp", ".hpp", ".h", ".cu"}]
    result = subprocess.run([formatter, "--dry-run", "-Werror", "--style=file", *sources], capture_output=True, text=True)
    complaints = sorted({line.split(":")[0] for line in result.stderr.splitlines() if "error:" in line})
    print("\n".join(f"{name}: run clang-format-14 -i" for name in complaints) or f"{len(sources)} sources are formatted")
    return 1 if result.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
