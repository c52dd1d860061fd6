"""Fails on a finding of shellcheck in any shell script of the project. usage: check_shell.py SHELLCHECK [ROOT]"""
import pathlib
import subprocess
import sys

from project_files import project_files


def is_shell(path):
    if path.suffix in {".sh", ".sbatch"}:
        return True
    with path.open("rb") as file:
        first = file.readline(64)
    return path.suffix == "" and first.startswith(b"#!") and first.rstrip().endswith((b"bash", b"/sh"))


def main():
    root = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else pathlib.Path(__file__).parents[2])
    scripts = [str(root / name) for name in project_files(root) if is_shell(root / name)]
    result = subprocess.run([sys.argv[1], *scripts])
    print(f"shellcheck looked at {len(scripts)} scripts")
    return result.returncode or (0 if scripts else 1)


if __name__ == "__main__":
    sys.exit(main())
