#!/usr/bin/env python3
"""What parallelism costs on this machine, as ratios of measurements that alternate within one run.

  efficiency   one rank x one thread against N ranks x one thread: the same work per rank (weak) and the same batch
               (strong), beside the same ratio of the step's matrix products alone. The latter is what the machine
               gives; the rest is ours.
  overlap      seconds of exposed communication with and without parallel.overlap, over real MPI.
  link         the same on one rank against a modelled link (latency + bytes / bandwidth per message, one link per
               rank), beside what no overlap can hide.

Every number is the median over --repeats runs of `hrm bench step`. Prints one table; --json the raw results too.
"""

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys


def bench(options, ranks, settings, extra=()):
    """One `hrm bench step --json` on `ranks` ranks of one thread."""
    command = [options.hrm, "bench", "step", "--json", "--seconds", str(options.seconds), *extra]
    for config in options.config:
        command += ["--config", config]
    for key, value in {"device.threads": 1, **settings}.items():
        command += ["--set", f"{key}={value}"]
    for setting in options.set:
        command += ["--set", setting]
    if ranks > 1:
        command = [*shlex.split(options.launcher), "-n", str(ranks), *command]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    result = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=False)
    if result.returncode != 0:
        sys.exit(f"failed with {result.returncode}: {shlex.join(command)}")
    return json.loads(result.stdout.decode().splitlines()[-1])


def median(results, key):
    return statistics.median(result[key] for result in results)


def alternate(options, cases):
    """Runs all cases in turn, `repeats` times: name -> results."""
    results = {name: [] for name in cases}
    for repeat in range(options.repeats):
        for name, run in cases.items():
            results[name].append(run())
            print(f"repeat {repeat + 1} of {options.repeats}: {name}", file=sys.stderr)
    return results


def efficiency(options):
    n = options.ranks
    packs = options.packs
    results = alternate(options, {
        "1 rank": lambda: bench(options, 1, {"train.packs": packs}),
        "weak": lambda: bench(options, n, {"train.packs": packs * n}),
        "strong": lambda: bench(options, n, {"train.packs": packs}),
    })
    one = median(results["1 rank"], "tokens_per_second")
    print(f"{'':8} {'tokens/s':>10} {'efficiency':>10} {'products':>9} {'of that':>8}  seconds: step, forward, backward, "
          "communication, optimizer")
    for name, runs in results.items():
        ranks = 1 if name == "1 rank" else n
        ratio = statistics.median(run["tokens_per_second"] / (ranks * base["tokens_per_second"])
                                  for run, base in zip(runs, results["1 rank"]))
        products = statistics.median(run["gemm_flops_per_second"] / base["gemm_flops_per_second"]
                                     for run, base in zip(runs, results["1 rank"]))
        parts = ", ".join(f"{median(runs, 'seconds_' + part):.4f}"
                          for part in ("per_step", "forward", "backward", "communication", "optimizer"))
        print(f"{name:8} {median(runs, 'tokens_per_second'):10.0f} {ratio:10.3f} {products:9.3f} {ratio / products:8.3f}"
              f"  {parts}")
    return {"results": results, "one": one}


def overlap(options):
    n = options.ranks
    settings = {"train.packs": options.packs * n}
    results = alternate(options, {
        "with": lambda: bench(options, n, {**settings, "parallel.overlap": "true"}),
        "without": lambda: bench(options, n, {**settings, "parallel.overlap": "false"}),
    })
    print(f"{'overlap':8} {'s/step':>9} {'exposed s':>10} {'share':>7}")
    for name, runs in results.items():
        step = median(runs, "seconds_per_step")
        exposed = median(runs, "seconds_communication")
        print(f"{name:8} {step:9.4f} {exposed:10.5f} {exposed / step:7.3f}")
    ratio = median(results["with"], "seconds_communication") / median(results["without"], "seconds_communication")
    print(f"exposed with / without: {ratio:.3f}")
    return {"results": results, "ratio": ratio}


def link(options):
    table = {}
    print(f"{'bandwidth':>10} {'overlap':8} {'s/step':>9} {'link s':>9} {'exposed s':>10} {'bound s':>9} {'exposed/link':>12} "
          f"{'exposed/bound':>13}")
    for bandwidth in options.bandwidths:
        extra = ["--modelled-ranks", str(options.modelled_ranks), "--link-latency", str(options.latency),
                 "--link-bandwidth", str(bandwidth)]
        settings = {"train.packs": options.packs * options.modelled_ranks}
        results = alternate(options, {
            name: lambda value=value: bench(options, 1, {**settings, "parallel.overlap": value}, extra)
            for name, value in (("with", "true"), ("without", "false"))
        })
        for name, runs in results.items():
            exposed, busy, bound = (median(runs, "seconds_" + part) for part in ("communication", "link", "link_bound"))
            print(f"{bandwidth:10.3g} {name:8} {median(runs, 'seconds_per_step'):9.4f} {busy:9.5f} {exposed:10.5f} "
                  f"{bound:9.5f} {exposed / busy:12.3f} {exposed / bound:13.3f}")
        table[str(bandwidth)] = results
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["efficiency", "overlap", "link"])
    parser.add_argument("--hrm", default="build/hrm")
    parser.add_argument("--launcher", default="mpirun", help="starts several ranks (default: mpirun)")
    parser.add_argument("--config", action="append", default=[], help="of hrm bench step; repeatable")
    parser.add_argument("--set", action="append", default=[], help="section.key=value; repeatable")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--packs", type=int, default=2, help="of one rank; of all in a strong comparison (default: 2)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each measurement")
    parser.add_argument("--modelled-ranks", type=int, default=16)
    parser.add_argument("--latency", type=float, default=5e-6, help="of the modelled link [s]")
    parser.add_argument("--bandwidths", type=float, nargs="+", default=[1e9, 1e8], help="of the modelled link [bytes/s]")
    parser.add_argument("--json", help="file for the raw results")
    options = parser.parse_args()
    print(f"command: {shlex.join(sys.argv)}")
    result = {"efficiency": efficiency, "overlap": overlap, "link": link}[options.what](options)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)


if __name__ == "__main__":
    main()
