"""The account as tables (Markdown) and as one JSON object."""
import dataclasses

from gpu_account import attention, estimate as estimates, exchange, machine as gpu, remedies
from gpu_account.step import Step

ASSUMPTIONS = {"matrix": "matrix products [TFLOP/s]", "waves": "of that, the part that waves of tiles fill",
               "attention_forward": "attention forward, executed [TFLOP/s]",
               "attention_backward": "attention backward, executed [TFLOP/s]",
               "hbm": "streaming kernels, part of 3.35 TB/s", "gap": "gap between kernels [µs]",
               "nvlink": "NVLink per GPU and direction [GB/s]", "network": "network per GPU and direction [GB/s]",
               "round": "start of an exchange's round [µs]", "host_sum": "host's sum of norms [ms]",
               "contention": "computation lost to a second of hidden exchange [s]"}
UNITS = {"matrix": 1e12, "attention_forward": 1e12, "attention_backward": 1e12, "gap": 1e-6, "nvlink": 1e9,
         "network": 1e9, "round": 1e-6, "host_sum": 1e-3}


def markdown(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(" --- " if i == 0 else " ---: " for i in range(len(header)))
             + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def assumptions():
    rows = []
    for field, name in ASSUMPTIONS.items():
        values = [getattr(machine, field) for machine in gpu.MACHINES]
        rows.append([name] + [("yes" if value else "no") if field == "waves" else f"{value / UNITS.get(field, 1):.3g}"
                              for value in values])
    return markdown(["assumption", *(machine.name for machine in gpu.MACHINES)], rows)


def kernel_table(works):
    middle = gpu.MIDDLE
    rows = []
    for work in works:
        floor = estimates.floor_seconds(work)
        seconds = estimates.kernel_seconds(work, middle)
        bound = "arithmetic" if work.executed_flops / gpu.PEAK > work.bytes / gpu.BANDWIDTH else "bytes"
        shape = "x".join(map(str, work.shape))
        waves = f"{gpu.wave_efficiency(*work.shape[:2]):.2f}" if work.shape else ""
        rows.append([f"{work.name}{' (exchange stream)' if work.stream == 'exchange' else ''}", shape,
                     str(work.launches), f"{work.executed_flops / 1e12:.2f}", f"{work.bytes / 1e9:.2f}", bound, waves,
                     f"{floor * 1e3:.2f}", f"{seconds * 1e3:.2f}"])
    return markdown(["kernel", "m x n x k", "launches", "TFLOP", "GB", "floor set by", "waves", "floor [ms]",
                     "middle [ms]"], rows)


def totals(step, works):
    m = step.model
    compute = [work for work in works if work.stream == "compute"]
    floor = sum(map(estimates.floor_seconds, compute))
    model = sum(work.model_flops for work in works)
    traffic = [exchange.traffic(m.buckets(), step.setting.ranks, step.setting.ranks_per_node, element, queue)
               for element, queue in ((4, True), (step.setting.element, False))]
    samples = step.setting.samples
    return {
        "gpus": step.setting.ranks, "packs_per_gpu": step.packs, "slots": m.slots, "parameters": m.parameters,
        "sample_length": samples.length, "sample_prefix": samples.prefix, "supervised": samples.supervised,
        "model_tflop": model / 1e12, "executed_tflop": sum(work.executed_flops for work in works) / 1e12,
        "gflop_per_token": model / step.packs / m.slots / 1e9,
        "gigabytes": sum(work.bytes for work in compute) / 1e9,
        "launches": sum(work.launches for work in compute),
        "launches_exchange": sum(work.launches for work in works) - sum(work.launches for work in compute),
        "floor_ms": floor * 1e3, "floor_mfu": model / gpu.PEAK / floor,
        "tree_rounds": traffic[0].rounds, "gather_rounds": traffic[1].rounds,
        "node_gigabytes": sum(t.node_bytes for t in traffic) / 1e9,
        "network_gigabytes": sum(t.network_bytes for t in traffic) / 1e9,
        "host_sum_megabytes": estimates.host_sum_doubles(m) * 8 / 1e6,
    }


def totals_text(t):
    return (f"{t['gpus']} GPUs, {t['packs_per_gpu']} pack(s) of {t['slots']} slots each, samples of {t['sample_length']} "
            f"slots with {t['sample_prefix']} of prefix ({t['supervised']} rows supervised), "
            f"{t['parameters'] / 1e6:.1f} M parameters. "
            f"Of one GPU: {t['model_tflop']:.1f} TFLOP of the model ({t['gflop_per_token']:.2f} GFLOP per slot), "
            f"{t['executed_tflop']:.1f} executed, {t['gigabytes']:.0f} GB, {t['launches']} launches and "
            f"{t['launches_exchange']} on the exchange stream. Floor at the peaks {t['floor_ms']:.0f} ms "
            f"({100 * t['floor_mfu']:.1f} % MFU). Sent: {t['node_gigabytes']:.2f} GB inside the node, "
            f"{t['network_gigabytes']:.2f} GB to other nodes, in {t['tree_rounds']} rounds up and "
            f"{t['gather_rounds']} down; {t['host_sum_megabytes']:.1f} MB in the host's sum.")


def estimate_table(results):
    groups = list(results[0].by_group)
    rows = [[f"{group} [ms]", *(f"{r.by_group[group] * 1e3:.1f}" for r in results)] for group in groups]
    rows += [["of these, gaps [ms]", *(f"{r.gaps * 1e3:.1f}" for r in results)],
             ["tree's tail [ms]", *(f"{r.exposed.tree_tail * 1e3:.2f}" for r in results)],
             ["host's sum [ms]", *(f"{r.exposed.host_sum * 1e3:.2f}" for r in results)],
             ["first weights [ms]", *(f"{r.exposed.gather_head * 1e3:.2f}" for r in results)],
             ["lost to hidden exchanges [ms]", *(f"{r.exposed.contention * 1e3:.2f}" for r in results)],
             ["**step [ms]**", *(f"**{r.step * 1e3:.0f}**" for r in results)],
             ["slots/s per GPU", *(f"{r.tokens_per_second:.0f}" for r in results)],
             ["**MFU, model FLOPs**", *(f"**{100 * r.mfu:.1f} %**" for r in results)],
             ["executed FLOPs / peak", *(f"{100 * r.hfu:.1f} %" for r in results)]]
    return markdown(["expected", *(r.machine for r in results)], rows)


def remedy_table(step, works):
    """Remedies one after the other, each on top of those before."""
    machines = list(gpu.MACHINES)
    header = ["each on top of those before", *(f"{machine.name}: ms, MFU" for machine in machines),
              "matrix rate for 45 %, 50 % [TFLOP/s]"]
    rows = []

    def row(name):
        results = [estimates.estimate(step, works, machine) for machine in machines]
        middle = machines[gpu.MACHINES.index(gpu.MIDDLE)]
        needed = [estimates.needed_matrix_rate(step, works, middle, mfu) for mfu in (0.45, 0.5)]
        rows.append([name, *(f"{r.step * 1e3:.0f}, {100 * r.mfu:.1f} %" for r in results),
                     ", ".join("none" if rate is None else f"{rate / 1e12:.0f}" for rate in needed)])

    row("as the program is")
    for remedy in remedies.remedies():
        works, machines = remedies.apply(works, machines, remedy)
        row(remedy.name)
    return markdown(header, rows)


def sensitivity_table(step, works):
    """One assumption of the middle machine at a time at its other values."""
    rows = []
    for field, name in ASSUMPTIONS.items():
        values = [getattr(machine, field) for machine in gpu.MACHINES]
        results = [estimates.estimate(step, works, dataclasses.replace(gpu.MIDDLE, **{field: value}))
                   for value in (values[0], values[2])]
        rows.append([name, *(f"{100 * r.mfu:.1f} %" for r in results)])
    return markdown(["one assumption changed, MFU", gpu.PESSIMISTIC.name, gpu.OPTIMISTIC.name], rows)


def sample_table(step):
    """Other lengths of samples, half of each prefix."""
    rows = []
    for length in (128, 256, 512, 1024, 2048, 4096):
        setting = dataclasses.replace(step.setting, samples=attention.fill(step.model.slots, length, length // 2))
        other = Step(step.model, setting)
        works = other.works()
        results = [estimates.estimate(other, works, machine) for machine in gpu.MACHINES]
        flops = sum(work.model_flops for work in works) / other.packs / step.model.slots
        rows.append([f"{length}", f"{flops / 1e9:.2f}", *(f"{r.tokens_per_second:.0f}, {100 * r.mfu:.1f} %"
                                                         for r in results)])
    return markdown(["slots of a sample", "GFLOP per slot", *(f"{machine.name}: slots/s, MFU" for machine in gpu.MACHINES)],
                    rows)


def section(step):
    works = step.works()
    results = [estimates.estimate(step, works, machine) for machine in gpu.MACHINES]
    return "\n\n".join([f"### {step.model.name}", totals_text(totals(step, works)), kernel_table(works),
                        estimate_table(results), remedy_table(step, works), sensitivity_table(step, works),
                        sample_table(step)])


def as_json(step):
    works = step.works()
    return {"totals": totals(step, works),
            "works": [dataclasses.asdict(work) | {"floor_seconds": estimates.floor_seconds(work)} for work in works],
            "estimates": [dataclasses.asdict(estimates.estimate(step, works, machine)) for machine in gpu.MACHINES]}
