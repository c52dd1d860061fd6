"""Fails on files that are too long, on unfinished marks, and on paths that exist on one machine only.
usage: check_text.py [ROOT]"""
import pathlib
import re
import sys

from project_files import project_files

MAX_LINES = 400
CODE = {".cpp", ".hpp", ".h", ".cu", ".py", ".sh", ".cmake", ".sbatch"}
TEXT = CODE | {".md", ".txt", ".cfg", ".json", ".def", ".sampling", ""}
# Written in pieces, so that this file does not match itself.
UNFINISHED = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b|not (yet )?imple" + r"mented|unimple" + "mented", re.IGNORECASE)
ONE_MACHINE = re.compile(r"(?<![\w$}.])/(?:root|home|work|farm|Users|mnt)/\w")


def problems(root):
    found = []
    for name in project_files(root):
        if name.suffix not in TEXT or name.name == "LICENSE":
            continue
        try:
            lines = (pathlib.Path(root) / name).read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError:
            found.append(f"{name}: is not UTF-8 text")
            continue
        if name.suffix in CODE and len(lines) > MAX_LINES:
            found.append(f"{name}: {len(lines)} lines, more than {MAX_LINES}; cut the file at a seam")
        for number, line in enumerate(lines, 1):
            if name.suffix in CODE and UNFINISHED.search(line):
                found.append(f"{name}:{number}: unfinished mark: {line.strip()[:80]}")
            if ONE_MACHINE.search(line):
                found.append(f"{name}:{number}: path of one machine: {line.strip()[:80]}")
    return found


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]
    found = problems(root)
    print("\n".join(found) or "every file keeps the text rules")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
