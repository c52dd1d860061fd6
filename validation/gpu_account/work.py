"""Launches of one kind: what they compute and move."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Work:
    """`launches` of one kernel together: FLOPs of the model and FLOPs executed, bytes of device memory when every
    operand is read once and every result written once, and for matrix products their shape."""
    name: str
    group: str
    launches: int
    bytes: int
    model_flops: int = 0
    executed_flops: int = 0
    kind: str = "memory"  # or matrix, attention_forward, attention_backward: whose rate limits it
    shape: tuple = ()     # (m, n, k)
    stream: str = "compute"

    def times(self, count):
        return dataclasses.replace(self, launches=self.launches * count, bytes=self.bytes * count,
                                   model_flops=self.model_flops * count, executed_flops=self.executed_flops * count)


def product(name, m, n, k, element, out, accumulate=False, group="products", model_share=1.0):
    """C (m, n) (+)= A (m, k) B (k, n), operands of `element` bytes, C of `out`."""
    flops = 2 * m * n * k
    moved = (m * k + k * n) * element + m * n * out * (2 if accumulate else 1)
    return Work(name, group, 1, moved, round(flops * model_share), flops, "matrix", (m, n, k))


def memory(name, group, moved, launches=1, stream="compute"):
    return Work(name, group, launches, moved, stream=stream)


def merged(works):
    """One entry per kernel and shape, in order of first appearance."""
    sums = {}
    for work in works:
        key = (work.name, work.group, work.kind, work.shape, work.stream)
        if key in sums:
            old = sums[key]
            work = dataclasses.replace(old, launches=old.launches + work.launches, bytes=old.bytes + work.bytes,
                                       model_flops=old.model_flops + work.model_flops,
                                       executed_flops=old.executed_flops + work.executed_flops)
        sums[key] = work
    return [work for work in sums.values() if work.launches > 0]
