"""Builds the demo's corpus: real English from WordNet and generated tasks whose answers can be checked.

usage: demo_corpus.py --out FOLDER [--wordnet FOLDER] [--synsets N] [--puzzles N]

Writes train.jsonl and heldout.jsonl (instruction, response, condition, source), eval.jsonl (benchmark, question,
answer) and prompts.txt. The same arguments give the same bytes. Needs Python's standard library only; WordNet's
database files are those of the Debian package wordnet-base.

What is held out is decided by a hash of the *problem*, never of its wording:
  arithmetic  the fact family of a sum: 47 + 38, 38 + 47, 85 - 38 and 85 - 47 are one problem;
  sudoku      the puzzle up to all symmetries of the board and of the digits; besides, the solutions of held-out
              puzzles are grids that no training puzzle has, not even with its digits renamed;
  WordNet     the definition, with every word, synonym and hypernym question about it.
Prompts hold the problem alone: no padding digits, no carries, no hints.
"""
import argparse
import hashlib
import json
import pathlib
import random

import sudoku4
import wordnet

HELD_OUT_ARITHMETIC = 8  # one family in 8
HELD_OUT_SYNSETS = 50  # one definition in 50


def bucket(problem, buckets):
    """A number below `buckets` that depends on the problem's canonical text alone."""
    return int.from_bytes(hashlib.sha256(problem.encode()).digest()[:8], "big") % buckets


def sample(instruction, response, source):
    return {"instruction": instruction, "response": response, "condition": "direct", "source": source}


def question(benchmark, row):
    return {"benchmark": benchmark, "question": row["instruction"], "answer": row["response"]}


# --- arithmetic -----------------------------------------------------------------------------------------------------

def family_held_out(a, b):
    """Whether every addition and subtraction among a, b and a + b is held out."""
    return bucket(f"sum {min(a, b)} {max(a, b)}", HELD_OUT_ARITHMETIC) == 0


def addition(a, b, digits):
    return sample(f"{a} + {b} =", str(a + b), f"arithmetic/add{digits}"), family_held_out(a, b)


def subtraction(a, b, digits):
    return sample(f"{a} - {b} =", str(a - b), f"arithmetic/sub{digits}"), family_held_out(b, a - b)


def operand_pairs(digits, limit, rng):
    """All ordered pairs of numbers of that many digits, or `limit` random ones without repetition."""
    low, high = (0 if digits == 1 else 10 ** (digits - 1)), 10**digits
    if (high - low) ** 2 <= limit:
        return [(a, b) for a in range(low, high) for b in range(low, high)]
    pairs = {}
    while len(pairs) < limit:
        pairs[(rng.randrange(low, high), rng.randrange(low, high))] = None
    return list(pairs)


def arithmetic(digits, limit, rng):
    """(row, held out) of additions and of subtractions with no negative result."""
    for a, b in operand_pairs(digits, limit, rng):
        yield addition(a, b, digits)
        if a >= b:
            yield subtraction(a, b, digits)


# --- Sudoku ---------------------------------------------------------------------------------------------------------

def sudoku_rows(count, held_out_count, rng):
    """(row, held out): `count` training puzzles and `held_out_count` held-out ones, each with one solution."""
    kept_out = sudoku4.held_out_grids(bucket)
    wanted = {False: count, True: held_out_count}
    seen = set()
    while any(wanted.values()):
        puzzle, solution = sudoku4.random_puzzle(rng)
        in_grids = solution in kept_out
        if puzzle in seen or not wanted[in_grids]:
            continue
        if (bucket(f"sudoku {sudoku4.canonical(puzzle)}", 4) == 0) != in_grids:
            continue
        seen.add(puzzle)
        wanted[in_grids] -= 1
        yield sample(f"Sudoku {sudoku4.spaced(puzzle)}", sudoku4.spaced(solution), "sudoku4"), in_grids


# --- WordNet --------------------------------------------------------------------------------------------------------

def wordnet_rows(synsets):
    """(row, held out) of definitions, synonyms and hypernyms."""
    for synset in synsets:
        out = bucket(f"definition {synset.definition}", HELD_OUT_SYNSETS) == 0
        for word in synset.words:
            subject = f'the {synset.part_of_speech} "{word}"'
            yield sample(f"Define {subject}.", synset.definition, "wordnet/definition"), out
            others = [other for other in synset.words if other != word]
            if others:
                yield sample(f"Give synonyms of {subject}.", ", ".join(others), "wordnet/synonym"), out
            if synset.hypernym:
                yield sample(f"Name the hypernym of {subject}.", synset.hypernym, "wordnet/hypernym"), out


def chosen_synsets(folder, count):
    """All synsets, or the `count` with the smallest hash (a fixed random choice)."""
    synsets = wordnet.read_synsets(folder)
    if not count or count >= len(synsets):
        return synsets
    return sorted(synsets, key=lambda synset: bucket(f"choice {synset.identity}", 2**63))[:count]


# --- files ----------------------------------------------------------------------------------------------------------

# Held-out rows of one source that go into eval.jsonl and into heldout.jsonl.
EVAL_LIMIT = {"arithmetic/add2": 10**9, "arithmetic/sub2": 10**9, "wordnet/definition": 0, "wordnet/synonym": 0}
DEFAULT_EVAL_LIMIT = 200
HELD_OUT_LIMIT = 200
PROMPTS = 3  # of each WordNet source


def all_rows(arguments):
    rng = random.Random(20260520)
    for digits, limit in ((1, 10**4), (2, 10**4), (3, 24000), (4, 8000)):
        yield from arithmetic(digits, limit, rng)
    yield from sudoku_rows(arguments.puzzles, 2 * DEFAULT_EVAL_LIMIT, rng)
    yield from wordnet_rows(chosen_synsets(arguments.wordnet, arguments.synsets))


def split(rows):
    """Training rows, and held-out rows by source in an order that is random but fixed. A word with several senses
    may ask a held-out question once more: such training rows are left out."""
    train, held_out = [], {}
    for row, out in rows:
        if out:
            held_out.setdefault(row["source"], []).append(row)
        else:
            train.append(row)
    for rows_of_source in held_out.values():
        rows_of_source.sort(key=lambda row: bucket(row["instruction"], 2**63))
    asked = {row["instruction"] for rows_of_source in held_out.values() for row in rows_of_source}
    return [row for row in train if row["instruction"] not in asked], held_out


def write_lines(path, rows):
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return len(rows)


def write_corpus(arguments):
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    train, held_out = split(all_rows(arguments))
    evaluation, text, prompts = [], [], []
    for source, rows in held_out.items():
        benchmark = source.split("/")[-1]
        evaluation += [question(benchmark, row) for row in rows[:EVAL_LIMIT.get(source, DEFAULT_EVAL_LIMIT)]]
        text += rows[:HELD_OUT_LIMIT]
        if source.startswith("wordnet/"):
            prompts += [row["instruction"] for row in rows[:PROMPTS]]
    print(f"{write_lines(folder / 'train.jsonl', train)} training samples, "
          f"{write_lines(folder / 'eval.jsonl', evaluation)} held-out problems, "
          f"{write_lines(folder / 'heldout.jsonl', text)} held-out samples for the loss")
    (folder / "prompts.txt").write_text("".join(prompt + "\n" for prompt in prompts), encoding="utf-8")


def parse(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, help="folder for the files")
    parser.add_argument("--wordnet", default=wordnet.DEBIAN_FOLDER, help="folder of WordNet's data files")
    parser.add_argument("--synsets", type=int, default=0, help="take so many synsets (0 = all, about 117,000)")
    parser.add_argument("--puzzles", type=int, default=6000, help="Sudoku puzzles to train on")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    write_corpus(parse())
