"""What travels between ranks: gradients up the tree, weights down it, in rounds of units (comm/gradient_tree,
comm/bucket_gather). Rank counts are powers of two, one node's ranks too."""
import dataclasses

from gpu_account.model import FLAT_BLOCK
from gpu_account.work import memory

UNIT = 1 << 23  # elements
FLOAT = 4


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Of one transfer of one rank: rounds, bytes that it sends inside its node and to others (it receives as many)."""
    rounds: int
    node_bytes: float
    network_bytes: float


def levels(ranks):
    if ranks & (ranks - 1):
        raise ValueError("the account knows powers of two as numbers of ranks")
    return ranks.bit_length() - 1


def units(bucket, ranks):
    """Pieces that a bucket travels in."""
    chunk = max(UNIT // ranks // FLAT_BLOCK, 1) * FLAT_BLOCK
    longest = -(-bucket // FLAT_BLOCK // ranks) * FLAT_BLOCK
    return -(-longest // chunk)


def tree_adds(buckets, ranks):
    """Sums of what arrives: over level k a rank receives 1 / 2^k of every unit, in 2^(k - 1) pieces."""
    if ranks == 1:
        return []
    launches = sum(units(bucket, ranks) for bucket in buckets) * (ranks - 1)
    moved = 3 * FLOAT * sum(buckets) * (ranks - 1) // ranks
    return [memory("tree_add of arrivals", "exchange", moved, launches, "exchange")]


def traffic(buckets, ranks, per_node, element, in_one_queue):
    """`in_one_queue`: units of all buckets follow each other (the tree); else every bucket has rounds of its own."""
    if ranks == 1:
        return Traffic(0, 0, 0)
    depth = levels(ranks)
    inside = min(depth, levels(per_node))
    counts = [units(bucket, ranks) for bucket in buckets]
    rounds = sum(counts) + (depth - 1) * (1 if in_one_queue else len(buckets))
    whole = sum(buckets) * element
    share = [whole / 2**level for level in range(1, depth + 1)]
    return Traffic(rounds, sum(share[:inside]), sum(share[inside:]))
