"""Rows of metrics.jsonl, as far as they count."""
import json

# What does not depend on the machine, the layout or the time.
NUMBERS = ("step", "epoch", "tokens", "loss", "accuracy", "exact_accuracy", "learning_rate", "bp_steps", "gradient_norm")


def rows(folder):
    """All whole lines; a torn last one is left out, and so is a journal that is not there yet."""
    try:
        text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(True) if line.endswith("\n")]


def curve(folder):
    """One tuple of NUMBERS a step; rows that a restart cut are left out."""
    kept = []
    for row in rows(folder):
        if row["record"] == "cut":
            kept = [earlier for earlier in kept if earlier["step"] <= row["step"]]
        elif row["record"] == "train":
            kept.append(row)
    return [tuple(row.get(name) for name in NUMBERS) for row in kept]


def events(folder, kind):
    return [row for row in rows(folder) if row["record"] == "event" and row["kind"] == kind]
