"""Reads WordNet's database files (data.noun, data.verb, data.adj, data.adv; format: wndb(5WN))."""
import dataclasses
import pathlib
import re

DEBIAN_FOLDER = "/usr/share/wordnet"
PARTS = {"noun": "noun", "verb": "verb", "adj": "adjective", "adv": "adverb"}
HYPERNYMS = ("@", "@i")
MARKER = re.compile(r"\((?:a|p|ip)\)$")  # where an adjective may stand, written behind the word


@dataclasses.dataclass
class Synset:
    identity: str  # file and offset
    part_of_speech: str
    words: list
    definition: str
    parent: str  # identity of the first hypernym, "" without one
    hypernym: str = ""  # its first word


def parse_line(line, part):
    """offset file-number type word-count(hex) (word id)… pointer-count (symbol offset type target)… | gloss"""
    fields, gloss = line.split(" | ", 1)
    fields = fields.split()
    count = int(fields[3], 16)
    words = [MARKER.sub("", word).replace("_", " ") for word in fields[4:4 + 2 * count:2]]
    pointers = fields[4 + 2 * count + 1:]
    parents = [pointers[k + 1] for k in range(0, 4 * int(fields[4 + 2 * count]), 4) if pointers[k] in HYPERNYMS]
    definition = gloss.split('; "')[0].strip().rstrip(";")
    return Synset(f"{part} {fields[0]}", PARTS[part], list(dict.fromkeys(words)), definition,
                  f"{part} {parents[0]}" if parents else "")


def read_synsets(folder=DEBIAN_FOLDER):
    """Every synset that has a definition, in the order of the files; hypernyms are filled in."""
    synsets = []
    for part in PARTS:
        path = pathlib.Path(folder) / f"data.{part}"
        if not path.exists():
            raise SystemExit(f"{path} is missing: install the Debian package wordnet-base or give --wordnet FOLDER")
        with open(path, encoding="utf-8") as file:
            synsets += [parse_line(line, part) for line in file if not line.startswith("  ")]
    by_identity = {synset.identity: synset for synset in synsets}
    for synset in synsets:
        if synset.parent in by_identity:
            synset.hypernym = by_identity[synset.parent].words[0]
    return [synset for synset in synsets if synset.definition]
