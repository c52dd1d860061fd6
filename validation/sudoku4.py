"""4×4 Sudoku: the 288 full grids, puzzles with one solution, and their canonical form under all symmetries.

A grid or puzzle is a string of 16 digits, row by row; 0 is an empty cell.
"""
import functools
import itertools
import operator

CELLS = range(16)


def _peers(cell):
    row, column = divmod(cell, 4)
    return [other for other in CELLS if other != cell and
            (other // 4 == row or other % 4 == column or
             (other // 8 == row // 2 and other % 4 // 2 == column // 2))]


PEERS = [_peers(cell) for cell in CELLS]


def _fill(grid, found):
    if len(grid) == 16:
        found.append(grid)
        return
    taken = {grid[peer] for peer in PEERS[len(grid)] if peer < len(grid)}
    for digit in "1234":
        if digit not in taken:
            _fill(grid + digit, found)


@functools.cache
def full_grids():
    """All 288 of them, sorted."""
    found = []
    _fill("", found)
    return found


@functools.cache
def _grids_with():
    """{(cell, digit): bit set of the grids that have it there}"""
    sets = dict.fromkeys(itertools.product(CELLS, "1234"), 0)
    for number, grid in enumerate(full_grids()):
        for cell, digit in enumerate(grid):
            sets[(cell, digit)] |= 1 << number
    return sets


def solutions(puzzle):
    """All full grids that agree with the puzzle."""
    left = (1 << len(full_grids())) - 1
    for cell, digit in enumerate(puzzle):
        if digit != "0":
            left &= _grids_with()[(cell, digit)]
    return [grid for number, grid in enumerate(full_grids()) if left >> number & 1]


def random_puzzle(rng, clues=(6, 10)):
    """(puzzle, its only solution) with a random number of clues in that range."""
    grids = full_grids()
    while True:
        grid = grids[rng.randrange(len(grids))]
        cells = list(CELLS)
        rng.shuffle(cells)
        shown = set(cells[:rng.randrange(clues[0], clues[1] + 1)])
        puzzle = "".join(grid[cell] if cell in shown else "0" for cell in CELLS)
        if len(solutions(puzzle)) == 1:
            return puzzle, grid


def spaced(grid):
    """"1234 3412 2143 4321": a row of four digits each."""
    return " ".join(grid[row:row + 4] for row in range(0, 16, 4))


def _line_orders():
    """Orders of four rows (or columns) that keep the two bands together."""
    bands = ((0, 1), (1, 0))
    for first in bands:
        for second in bands:
            upper, lower = list(first), [2 + line for line in second]
            yield upper + lower
            yield lower + upper


@functools.cache
def _symmetries():
    """The 128 rearrangements of cells that turn every grid into a grid."""
    moves = []
    for rows in _line_orders():
        for columns in _line_orders():
            cells = [4 * row + column for row in rows for column in columns]
            moves.append(operator.itemgetter(*cells))
            moves.append(operator.itemgetter(*(cells[4 * (k % 4) + k // 4] for k in CELLS)))
    return moves


def renamed(grid):
    """Digits renamed in the order of their first appearance: equal for grids that differ in names only."""
    names = {"0": "0"}
    return "".join([names.setdefault(digit, str(len(names))) for digit in grid])


def canonical(puzzle):
    """Equal for two puzzles exactly if a symmetry of the board and of the digits turns one into the other."""
    return min(renamed(move(puzzle)) for move in _symmetries())


def held_out_grids(bucket, classes=2):
    """Grids of `classes` of the 12 classes that renaming digits makes, chosen by hash."""
    keys = sorted({renamed(grid) for grid in full_grids()}, key=lambda key: bucket(f"grid {key}", 2**63))
    chosen = set(keys[:classes])
    return {grid for grid in full_grids() if renamed(grid) in chosen}
