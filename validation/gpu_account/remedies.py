"""What further work on the kernels would save, as changes to a step's works and to what is assumed of the machine."""
import dataclasses


@dataclasses.dataclass(frozen=True)
class Remedy:
    """`saved`: by kernel name, the part of its bytes that remains and the part of its launches. `machine`: by
    assumption, a factor."""
    name: str
    saved: dict
    machine: dict = dataclasses.field(default_factory=dict)


def remedies():
    return [
        Remedy("rotary embedding inside attention: rotate q and k where tiles are loaded, dq and dk where stored",
               {"rope": (0.0, 0.0)}),
        Remedy("SwiGLU in the epilogue of gate_up, its gradient in that of down's input gradient",
               {"swiglu_forward": (1 / 3, 0.0), "swiglu_backward": (5 / 6, 0.0)}),
        Remedy("head gate in attention's epilogue, its gradient and the row sums in that of o's input gradient",
               {"head_gate_forward": (2 / 3, 0.0), "head_gate_backward": (5 / 6, 0.0), "attention row sums": (0.0, 0.0)}),
        Remedy("weights gathered in place, gradients stored by their first product instead of zero and add",
               {"copy of weights": (0.0, 0.0), "zero gradient": (0.0, 0.0)}),
        Remedy("attention by Hopper's own instructions (wgmma, TMA): 1.6 times the rate", {},
               {"attention_forward": 1.6, "attention_backward": 1.6}),
        Remedy("norms and counts summed on the GPUs, the step taken back after the fact: a tenth of the host's sum", {},
               {"host_sum": 0.1}),
        Remedy("CUDA graphs: half of every gap", {}, {"gap": 0.5}),
    ]


def apply(works, machines, remedy):
    """Works and machines with a remedy."""
    result = []
    for work in works:
        bytes_left, launches_left = remedy.saved.get(work.name, (1.0, 1.0))
        result.append(dataclasses.replace(work, bytes=round(work.bytes * bytes_left),
                                          launches=round(work.launches * launches_left)))
    return result, [dataclasses.replace(machine, **{field: getattr(machine, field) * factor
                                                    for field, factor in remedy.machine.items()})
                    for machine in machines]
