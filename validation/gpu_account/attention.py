"""What the attention kernels do for packs of equal samples: pairs that the mask lets through, and pairs computed.

The kernels skip what no row of a tile sees and compute the rest of a tile whole, so that computed >= visible.
"""
import dataclasses

STEP = 32   # rows of the other side that a block takes at a time
WARPS = 4   # of a block
TILE = 128  # rows of a tile


@dataclasses.dataclass(frozen=True)
class Samples:
    """`count` samples of `length` slots, `prefix` of them instruction, in a pack; the rest is padding."""
    count: int
    length: int
    prefix: int

    @property
    def used(self):
        return self.count * self.length

    @property
    def supervised(self):
        """The last prefix token predicts the first of the response."""
        return self.count * (self.length - self.prefix + 1)


def fill(slots, length, prefix):
    return Samples(slots // length, length, prefix)


def visible_pairs(samples):
    """The prefix sees itself, the response what is before it."""
    p, c = samples.prefix, samples.length - samples.prefix
    return samples.count * (p * p + c * p + c * (c + 1) // 2)


def seen(samples, query):
    return max(samples.prefix, query + 1)


def query_pairs(samples):
    """Pairs in the products of kernels whose warps own 32 queries (forward, dq) and walk over keys by steps."""
    rows = TILE // WARPS
    pairs = 0
    for query in range(0, samples.length, rows):
        keys = seen(samples, min(query + rows, samples.length) - 1)
        pairs += rows * -(-keys // STEP) * STEP
    return samples.count * pairs


def key_rows(head_dim):
    """Keys that a warp of the dk, dv kernel owns."""
    return 32 if head_dim <= 32 else 16


def key_pairs(samples, head_dim):
    """The same for the dk, dv kernel, whose warps own keys and walk over the queries that see them."""
    rows = key_rows(head_dim)
    tile = WARPS * rows
    pairs = 0
    for begin in range(0, samples.length, tile):
        start = 0 if begin < samples.prefix else begin
        for key in range(begin, min(begin + tile, samples.length), rows):
            steps = sum(1 for query in range(start, samples.length, STEP) if key < seen(samples, query + STEP - 1))
            pairs += rows * steps * STEP
    return samples.count * pairs


def tiles(samples):
    return samples.count * -(-samples.length // TILE)
