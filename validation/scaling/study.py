"""What a study measures: its options in STUDY/study.json and the list of runs that follows from them."""
import dataclasses
import json
import os
import pathlib
import re
import subprocess

MODES = ("strong", "weak")
OPTIONS = ("modes", "ranks", "packs", "steps", "warmup", "check_steps", "repeats", "tensor", "threads",
           "ranks_per_node")


class StudyError(Exception):
    """The user's; ends with the repair."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One start of the program. A check trains a weak batch of `batch_of` ranks at the smallest count."""
    mode: str
    ranks: int
    packs: int
    repeat: int = 1
    batch_of: int = 0

    @property
    def name(self):
        what = f"check-{self.batch_of:05d}" if self.is_check else f"{self.mode}-{self.ranks:05d}"
        return f"{what}-{self.repeat}"

    @property
    def is_check(self):
        return self.batch_of > 0


def weak_packs(study, ranks):
    return study["packs"] * ranks // study["ranks"][0]


def batch(study, mode, ranks):
    return study["packs"] if mode == "strong" else weak_packs(study, ranks)


def measured(study, mode, ranks):
    """The repeats of one configuration."""
    return [Run(mode, ranks, batch(study, mode, ranks), repeat) for repeat in range(1, study["repeats"] + 1)]


def reference(study, mode, ranks):
    """The run at the smallest count whose losses those of (mode, ranks) must equal."""
    first = study["ranks"][0]
    if mode == "weak" and ranks > first:
        return Run("weak", first, weak_packs(study, ranks), batch_of=ranks)
    return Run(mode, first, study["packs"])


def runs(study):
    """All of them, repeat after repeat, so that a drift of the machine does not fall on one count."""
    every = [run for repeat in range(study["repeats"]) for mode in study["modes"] for ranks in study["ranks"]
             for run in measured(study, mode, ranks)[repeat:repeat + 1]]
    references = [reference(study, mode, ranks) for mode in study["modes"] for ranks in study["ranks"]]
    return every + [run for run in references if run.is_check]


def settings(study, run, folder):
    """--set options of a run. The horizon is at its full depth and the rate rises over the whole run, so that every
    step costs the same and a configuration made for a long run stays finite."""
    values = {"data.path": study["data"], "checkpoint.dir": folder, "metrics.path": "",
              "train.packs": run.packs, "train.max_steps": study["steps"], "train.log_interval": 1,
              "train.lr_warmup_steps": study["steps"] - 1, "model.bp_warmup_ratio": 0,
              "parallel.tensor": study["tensor"], "device.threads": study["threads"],
              "checkpoint.interval_steps": 0, "checkpoint.interval_minutes": 0, "eval.path": "", "eval.benchmark": ""}
    words = [word for setting in study["set"] for word in ("--set", setting)]
    return words + [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def train_command(study, run, folder):
    configs = [word for config in study["config"] for word in ("--config", config)]
    stop = ["--stop-after", str(study["check_steps"])] if run.is_check else []
    return [study["hrm"], "train", *configs, *settings(study, run, folder), *stop]


def run_folder(folder, run):
    return pathlib.Path(folder) / "runs" / run.name


def check(study):
    first, tensor = study["ranks"][0], study["tensor"]
    for ranks in study["ranks"]:
        if ranks % tensor:
            raise StudyError(f"{ranks} ranks are no whole number of tensor groups of {tensor}; choose other --ranks")
        if "weak" in study["modes"] and study["packs"] * ranks % first:
            raise StudyError(f"{study['packs']} packs on {first} ranks cannot grow with the ranks to {ranks}: "
                             "choose --packs as a multiple of the smallest count")
        if "strong" in study["modes"] and ranks // tensor > study["packs"]:
            raise StudyError(f"{ranks} ranks have no pack each in a batch of {study['packs']}: raise --packs")
    if study["repeats"] < 1 or not 0 <= study["warmup"] < study["steps"]:
        raise StudyError("give --repeats of at least 1 and fewer --warmup steps than --steps")
    if not 1 <= study["check_steps"] < study["steps"]:
        raise StudyError("--check-steps must be at least 1 and fewer than --steps")


def configured_packs(study):
    command = [study["hrm"], "train", "--print-config", "--allow-single"]
    for config in study["config"]:
        command += ["--config", config]
    for setting in study["set"]:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"^packs = (\d+)", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        raise StudyError(f"{study['hrm']} does not print its configuration: {done.stderr.strip()}")
    return int(found[1])


def plan(options):
    """Writes STUDY/study.json; paths in it are absolute, so that a job may start anywhere."""
    if not os.access(options.hrm, os.X_OK):
        raise StudyError(f"{options.hrm} is no executable; build it or give --hrm")
    file = options.study / "study.json"
    if file.exists():
        raise StudyError(f"{file} exists: run or gather it, or choose another folder")
    study = {"format": "hrm-scaling-study", "format_version": 1, "hrm": os.path.abspath(options.hrm),
             "config": [os.path.abspath(config) for config in options.config], "data": os.path.abspath(options.data),
             "set": options.set, **{name: getattr(options, name) for name in OPTIONS}}
    study["packs"] = study["packs"] or configured_packs(study)
    check(study)
    options.study.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(study, indent=2) + "\n", encoding="utf-8")
    print(f"{file}: {len(runs(study))} runs of {study['steps']} steps")
    return 0


def read(folder):
    file = pathlib.Path(folder) / "study.json"
    try:
        study = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StudyError(f"{file} cannot be read ({error}); make it with: scaling plan") from error
    if study.get("format") != "hrm-scaling-study" or study.get("format_version") != 1:
        raise StudyError(f"{file} is no study of this version; make it with: scaling plan")
    return study
