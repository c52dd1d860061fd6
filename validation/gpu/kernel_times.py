"""Sums of a trace of kernels (kernel_trace.cpp) by operation, over its last whole step."""
import csv
import re

# Operation by a part of the kernel's name; the first that fits. Names of the library's products end in its layouts.
OPERATIONS = [("nvjet|gemm|cublas|cutlass|xmma", "products"), ("forward_kernel", "attention forward"),
              ("keys_kernel", "attention dk dv"), ("queries_kernel", "attention dq"), ("row_sums", "attention row sums"),
              ("rotate", "rope"), ("norm_forward", "norm forward"), ("norm_backward", "norm backward"),
              ("swiglu.*7Forward", "swiglu forward"), ("swiglu", "swiglu backward"),
              ("head_gate", "head gate"), ("entropy", "cross-entropy"), ("adam", "adam_atan2"),
              ("sum_squares", "square sums"), ("embedding", "embedding"), ("4Zero", "zero"), ("4Copy", "copy of weights"),
              ("4Cast", "cast of weights"), ("", "other")]
STEP_ENDS = "adam_atan2"


def operation(name):
    return next(what for pattern, what in OPERATIONS if re.search(pattern, name))


def read(path):
    """[(begin, end, name)] in order, in nanoseconds."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = [(int(row[0]), int(row[0]) + int(row[1]), ",".join(row[3:])) for row in csv.reader(file)]
    return sorted(rows)


def last_step(spans):
    """What ran between the ends of the last two updates."""
    ends = [i for i, span in enumerate(spans) if STEP_ENDS in span[2]]
    if len(ends) < 2:
        raise ValueError("the trace holds no whole step")
    return spans[ends[-2]][1], spans[ends[-2] + 1:ends[-1] + 1]


def summary(spans):
    """{"seconds", "busy", "launches", "operations": {name: (seconds, launches)}} of the last step."""
    begin, step = last_step(spans)
    busy, reached, operations = 0, begin, {}
    for start, end, name in step:
        busy += max(0, end - max(start, reached))
        reached = max(reached, end)
        seconds, launches = operations.get(operation(name), (0, 0))
        operations[operation(name)] = (seconds + (end - start) / 1e9, launches + 1)
    ordered = dict(sorted(operations.items(), key=lambda item: -item[1][0]))
    return {"seconds": (reached - begin) / 1e9, "busy": busy / 1e9, "launches": len(step), "operations": ordered}
