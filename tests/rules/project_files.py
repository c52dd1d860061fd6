"""Which files belong to the project: what git tracks or would track, else every file outside build folders."""
import pathlib
import subprocess

SKIPPED_FOLDERS = ("build", "demo", ".git", ".cache")


def project_files(root):
    """Sorted paths below `root`, relative to it."""
    root = pathlib.Path(root)
    try:
        listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                check=True, capture_output=True).stdout.decode()
        names = [pathlib.Path(name) for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
        names = [name for name in names if not name.parts[0].startswith(SKIPPED_FOLDERS)]
    return sorted(name for name in names if (root / name).is_file())
