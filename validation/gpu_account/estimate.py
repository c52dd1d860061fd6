"""Seconds of a step from its works and a machine: every kernel takes the longer of its arithmetic and its bytes."""
import dataclasses

from gpu_account import exchange, machine as gpu
from gpu_account.model import FLAT_BLOCK

FLOAT = 4


def kernel_seconds(work, machine):
    """Of all launches of `work`, gaps included."""
    rate = {"matrix": machine.matrix, "attention_forward": machine.attention_forward,
            "attention_backward": machine.attention_backward}.get(work.kind)
    if work.kind == "matrix" and machine.waves:
        rate *= gpu.wave_efficiency(*work.shape[:2])
    arithmetic = work.executed_flops / rate if rate else 0.0
    return max(arithmetic, work.bytes / (gpu.BANDWIDTH * machine.hbm)) + work.launches * machine.gap


def floor_seconds(work):
    """At the peaks of the data sheet, without gaps."""
    return max(work.executed_flops / gpu.PEAK, work.bytes / gpu.BANDWIDTH)


@dataclasses.dataclass(frozen=True)
class Exposed:
    """What nothing hides, in order: the last bucket on its way up, the host's sum, the first bucket on its way down;
    and what computation loses to exchanges that it hides."""
    tree_tail: float
    host_sum: float
    gather_head: float
    contention: float

    def total(self):
        return self.tree_tail + self.host_sum + self.gather_head + self.contention


def transfer_seconds(traffic, adds, machine):
    """Of rounds one after the other. In a round all levels move at once, in the node and between nodes."""
    if traffic.rounds == 0:
        return 0.0
    return (max(traffic.node_bytes / machine.nvlink, traffic.network_bytes / machine.network) +
            traffic.rounds * machine.round + (kernel_seconds(adds, machine) if adds else 0.0))


def exposed(step, machine):
    setting, buckets = step.setting, step.model.buckets()
    ranks = setting.ranks
    if ranks == 1:
        return Exposed(0.0, machine.host_sum / 2, 0.0, 0.0)

    def up(some):
        traffic = exchange.traffic(some, ranks, setting.ranks_per_node, FLOAT, True)
        return transfer_seconds(traffic, exchange.tree_adds(some, ranks)[0], machine)

    def down(some):
        traffic = exchange.traffic(some, ranks, setting.ranks_per_node, setting.element, False)
        return transfer_seconds(traffic, None, machine)

    table, layer = buckets[0], buckets[-1]
    tail = up([layer, table])  # the last layer is final just before the embedding is
    head = down([table, layer])
    hidden = up(buckets) - tail + down(buckets) - head
    return Exposed(tail, machine.host_sum, head, machine.contention * hidden)


@dataclasses.dataclass(frozen=True)
class Estimate:
    machine: str
    compute: float       # seconds of kernels on the compute stream, gaps included
    gaps: float          # of them
    by_group: dict
    exposed: Exposed
    step: float
    tokens_per_second: float  # of one GPU, slots
    mfu: float
    hfu: float


def estimate(step, works, machine):
    mine = [work for work in works if work.stream == "compute"]
    by_group = {}
    for work in mine:
        by_group[work.group] = by_group.get(work.group, 0.0) + kernel_seconds(work, machine)
    compute = sum(by_group.values())
    outside = exposed(step, machine)
    seconds = compute + outside.total()
    flops = seconds * gpu.PEAK
    return Estimate(machine.name, compute, sum(work.launches for work in mine) * machine.gap, by_group, outside, seconds,
                    step.packs * step.model.slots / seconds, sum(work.model_flops for work in works) / flops,
                    sum(work.executed_flops for work in works) / flops)


def host_sum_doubles(model):
    """Doubles that the host adds over all ranks: mostly a square sum per flat block."""
    return 8 + 5 * model.packs + sum(model.buckets()) // FLAT_BLOCK


def needed_matrix_rate(step, works, machine, mfu):
    """Matrix rate in FLOP/s at which `machine` reaches an MFU; None where no rate below the peak does."""
    low, high = 100e12, gpu.PEAK
    if estimate(step, works, dataclasses.replace(machine, matrix=high)).mfu < mfu:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        reached = estimate(step, works, dataclasses.replace(machine, matrix=middle)).mfu >= mfu
        low, high = (low, middle) if reached else (middle, high)
    return high
