"""Reads the metrics of every run, judges them against their references and writes the table."""
import dataclasses
import math
import platform
import shlex

import h5py
import numpy

from scaling import study as studies
from scaling import svg, table
from scaling.statistics import median, percentile, share
from scaling.table import Column

COLUMNS = [
    Column("mode", "text", "", "strong: the same global batch at every count; weak: as many packs per rank", "mode",
           "<6s"),
    Column("ranks", "integer", "ranks", "MPI ranks", "ranks", "6d"),
    Column("tensor", "integer", "ranks", "tensor-parallel size", "tensor", "6d"),
    Column("threads", "integer", "threads", "threads of each rank; 0: its cores", "threads", "7d"),
    Column("packs", "integer", "packs", "packs of a global batch", "packs", "6d"),
    Column("repeats", "integer", "runs", "runs that were read"),
    Column("steps", "integer", "steps", "timed steps of all of them, without warm-up", "steps", "5d"),
    Column("step_seconds_median", "real", "s", "median seconds of a step", "median[s]", "9.4f"),
    Column("step_seconds_p5", "real", "s", "5th percentile", "p5[s]", "9.4f"),
    Column("step_seconds_p95", "real", "s", "95th percentile", "p95[s]", "9.4f"),
    Column("tokens_per_second", "real", "1/s", "median over steps of all ranks' tokens per second", "tokens/s",
           "11.4g"),
    Column("efficiency", "real", "1", "strong: T(n0) n0 / (T(n) n) of median step times; weak: tokens per second and "
           "rank against the smallest count's", "effic", "6.3f"),
    Column("communication_share", "real", "1", "seconds rank 0 waited for communication, of all its seconds", "comm",
           "6.3f"),
    Column("data_share", "real", "1", "seconds rank 0 waited for data, of all its seconds", "data", "6.3f"),
    Column("verdict", "text", "", "same: losses of every compared step are the reference's bits; else what is wrong",
           "verdict", "<9s"),
    Column("compared_steps", "integer", "steps", "steps whose losses were compared with the reference's"),
    Column("reference", "text", "", "the run whose losses count; the smallest count is its own: its repeats must agree",
           "reference", "<16s"),
    Column("result", "text", "", "PASS or FAIL", "result", "<4s"),
]
SPEEDS = [column.name for column in COLUMNS if column.kind == "real"]
READ = ("step", "loss", "seconds", "tokens_per_second", "seconds_communication", "seconds_data")


@dataclasses.dataclass
class Metrics:
    columns: dict  # by name, one value a step
    hosts: str
    program: str


def read_run(folder, run, steps):
    """Metrics of a finished run with all its `steps`; None where there are none."""
    file = studies.run_folder(folder, run) / "metrics.h5"
    try:
        with h5py.File(file, "r") as metrics:
            columns = {name: metrics[f"train/{name}"][:] for name in READ}
            hosts = sorted({host.decode() for host in metrics["jobs/hosts"][:]})
            program = str(metrics.attrs["created_by"])
    except (OSError, KeyError):
        return None
    if columns["step"].tolist() != list(range(1, steps + 1)):
        return None
    return Metrics(columns, ",".join(hosts), program)


def same_bits(a, b):
    """Of float64 values; a loss that is not finite is no agreement."""
    a, b = numpy.asarray(a, numpy.float64), numpy.asarray(b, numpy.float64)
    return bool(len(a) == len(b) and numpy.isfinite(a).all() and (a.view(numpy.uint64) == b.view(numpy.uint64)).all())


def judge(repeats, reference):
    """(verdict, compared steps): the losses of all repeats against the reference's."""
    if None in repeats:
        return "missing", 0
    if reference is None:
        return "unchecked", 0
    expected = reference.columns["loss"]
    compared = len(expected)
    same = all(same_bits(run.columns["loss"][:compared], expected) for run in repeats)
    whole = all(same_bits(run.columns["loss"], repeats[0].columns["loss"]) for run in repeats)
    return ("same" if same and whole else "differs"), compared


def speeds(repeats, warmup):
    timed = {name: numpy.concatenate([run.columns[name][warmup:] for run in repeats]) for name in READ}
    seconds = timed["seconds"].tolist()
    return {"steps": len(seconds), "step_seconds_median": median(seconds), "step_seconds_p5": percentile(seconds, 5),
            "step_seconds_p95": percentile(seconds, 95),
            "tokens_per_second": median(timed["tokens_per_second"].tolist()),
            "communication_share": share(timed["seconds_communication"].tolist(), seconds),
            "data_share": share(timed["seconds_data"].tolist(), seconds)}


def row_of(study, mode, ranks, metrics):
    """One configuration; without its verdict it has no speed."""
    runs = studies.measured(study, mode, ranks)
    repeats = [metrics[run] for run in runs]
    reference = studies.reference(study, mode, ranks)
    verdict, compared = judge(repeats, metrics[reference])
    row = {"mode": mode, "ranks": ranks, "tensor": study["tensor"], "threads": study["threads"],
           "packs": runs[0].packs, "repeats": len(repeats) - repeats.count(None), "steps": 0, "verdict": verdict,
           "compared_steps": compared, "reference": reference.name, "result": "PASS" if verdict == "same" else "FAIL",
           **dict.fromkeys(SPEEDS, math.nan)}
    return {**row, **speeds(repeats, study["warmup"])} if verdict == "same" else row


def efficiency(row, first):
    """Against the smallest count; NaN where either has no speed."""
    if row["mode"] == "strong":
        return first["step_seconds_median"] * first["ranks"] / (row["step_seconds_median"] * row["ranks"])
    return (row["tokens_per_second"] / row["ranks"]) / (first["tokens_per_second"] / first["ranks"])


def rows_of(study, metrics):
    rows = []
    for mode in study["modes"]:
        of_mode = [row_of(study, mode, ranks, metrics) for ranks in study["ranks"]]
        for row in of_mode:
            row["efficiency"] = efficiency(row, of_mode[0])
        rows += of_mode
    return rows


def attributes(study, metrics):
    found = [run for run in metrics.values() if run is not None]
    example = studies.Run(study["modes"][0], study["ranks"][0], study["packs"])
    return {"format": "hrm-scaling", "format_version": 1,
            "created_by": "; ".join(sorted({run.program for run in found})),
            "what": "training speed over rank counts; one row per configuration, one dataset per column; a row whose "
                    "losses are not the reference's bits has no speed",
            "command": shlex.join(studies.train_command(study, example, "RUN")),
            "warmup_steps": study["warmup"], "steps": study["steps"], "check_steps": study["check_steps"],
            "hosts": "; ".join(sorted({run.hosts for run in found})), "gathered_on": platform.node()}


def panels(rows):
    modes = {mode: [row for row in rows if row["mode"] == mode] for mode in dict.fromkeys(row["mode"] for row in rows)}

    def line(mode, name, **ranges):
        return svg.Line(mode, [row["ranks"] for row in modes[mode]], [row[name] for row in modes[mode]],
                        **{key: [row[column] for row in modes[mode]] for key, column in ranges.items()})

    ranks = sorted({row["ranks"] for row in rows})
    efficiencies = [line(mode, "efficiency") for mode in modes]
    times = [line(mode, "step_seconds_median", low="step_seconds_p5", high="step_seconds_p95") for mode in modes]
    ideal = svg.Line("ideal", ranks, [1.0] * len(ranks), dashed=True)
    return [svg.Panel("Efficiency", "ranks", "efficiency", [*efficiencies, ideal]),
            svg.Panel("Step time, median with p5 to p95", "ranks", "seconds", times, log_y=True)]


def gather(folder):
    """Writes table.csv, table.h5 and table.svg into the study's folder. Exit code: 1 if a verdict fails."""
    study = studies.read(folder)
    metrics = {run: read_run(folder, run, study["check_steps"] if run.is_check else study["steps"])
               for run in studies.runs(study)}
    rows = rows_of(study, metrics)
    table.write_csv(folder / "table.csv", COLUMNS, rows)
    table.write_hdf5(folder / "table.h5", COLUMNS, rows, attributes(study, metrics))
    svg.write(folder / "table.svg", panels(rows))
    print("\n".join(table.text_lines(COLUMNS, rows)))
    print(f"The first {study['warmup']} steps of each run are not timed.")
    for run, found in metrics.items():
        if found is None:
            print(f"missing: {run.name} ({studies.run_folder(folder, run)}); scaling run {shlex.quote(str(folder))}")
    programs = {run.program for run in metrics.values() if run is not None}
    if len(programs) > 1:
        print(f"The runs are of several programs: {', '.join(sorted(programs))}")
    failed = sum(row["result"] == "FAIL" for row in rows)
    print(f"{len(rows) - failed} of {len(rows)} configurations passed; written: {folder}/table.csv, .h5, .svg")
    return 1 if failed else 0
