"""Fails on an #include that the table of rooms (rooms.json) does not allow. usage: check_includes.py [ROOT]"""
import json
import pathlib
import re
import sys

from project_files import project_files

QUOTED_INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"')
SOURCES = {".hpp", ".cpp", ".h", ".cu"}


TABLE = json.loads(pathlib.Path(__file__).with_name("rooms.json").read_text(encoding="utf-8"))
ROOMS, GENERATED = TABLE["rooms"], set(TABLE["generated"])


def room_of_file(name):
    """The room whose folder holds the file; None for main.cpp (which may include all) and for tests."""
    folder = pathlib.PurePath(name).parent.as_posix()
    return next((room for room, row in ROOMS.items() if folder == row["folder"]), None)


def complaint(room, included, files):
    """Why `room` may not include `included`, or None. `files`: the project's paths as strings."""
    if included in GENERATED:
        return None
    target = included.split("/")[0]
    if target == "src" or "/" not in included or ".." in included:
        return "is not spelled as ROOM/FILE"
    if included not in files and f"src/{included}" not in files:
        return "names a file that does not exist" if target in ROOMS else None
    if target not in ROOMS:
        return "leads into no room"
    if target != room and target not in ROOMS[room]["may_include"]:
        return f"leads from {room} up into {target}"
    return None


def violations(root):
    files = {path.as_posix() for path in project_files(root)}
    found = []
    for name in sorted(files):
        room = room_of_file(name)
        if room is None or pathlib.PurePath(name).suffix not in SOURCES:
            continue
        lines = (pathlib.Path(root) / name).read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines, 1):
            match = QUOTED_INCLUDE.match(line)
            why = match and complaint(room, match.group(1), files)
            if why:
                found.append(f'{name}:{number}: include "{match.group(1)}" {why}')
    return found


def stray_sources(root):
    """Sources of the program that lie in no room."""
    tops = ("src/", "kernels/", "io/")
    return [path.as_posix() for path in project_files(root)
            if path.suffix in SOURCES and path.as_posix().startswith(tops)
            and room_of_file(path) is None and path.as_posix() != "src/main.cpp"]


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2])
    found = violations(root) + [f"{name}: lies in no room of rooms.json" for name in stray_sources(root)]
    print("\n".join(found) or "every include follows the table of rooms")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
