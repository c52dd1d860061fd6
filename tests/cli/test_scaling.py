"""A scaling study as users run it: planned, run on 1 and 2 ranks by the batch script, gathered."""
import csv
import pathlib
import sys

from hrm_cli import MPIEXEC, PROGRAM, ROOT, TINY, HrmTest, launch, main, sums

DRIVER = ROOT / "validation" / "scaling"
BATCH_SCRIPT = ROOT / "slurm" / "scaling_study.sbatch"
FAKE_SRUN = """#!/usr/bin/env bash
for word in "$@"; do
  case $word in
    --ntasks=*) ranks=${{word#*=}}; shift ;;
    --*) shift ;;
    *) break ;;
  esac
done
unset SLURM_JOB_ID SLURM_NTASKS
exec {mpiexec} -n "$ranks" "$@"
"""


class Scaling(HrmTest):
    def scaling(self, *words, code=0, **options):
        outcome = launch([sys.executable, DRIVER, *words], **options)
        self.assertEqual(outcome.code, code, outcome)
        return outcome

    def batch(self, *words, code=0, **environment):
        outcome = launch(["bash", BATCH_SCRIPT, *words], timeout=300,
                         environment={"HRM_SCALING": str(DRIVER), "HRM_PYTHON": sys.executable, **environment})
        self.assertEqual(outcome.code, code, outcome)
        return outcome

    def planned(self):
        data, _ = self.shards(sums(1500))
        study = self.folder / "the study"
        self.scaling("plan", study, "--hrm", PROGRAM, "--config", TINY, "--data", data, "--ranks", "1,2", "--steps", 4,
                     "--warmup", 1, "--check-steps", 2, "--repeats", 1)
        return study

    def test_every_configuration_passes_here(self):
        study = self.planned()
        self.batch(study)

        self.scaling("gather", study)

        with open(study / "table.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([(row["mode"], row["ranks"], row["packs"], row["result"]) for row in rows],
                         [("strong", "1", "4", "PASS"), ("strong", "2", "4", "PASS"),
                          ("weak", "1", "4", "PASS"), ("weak", "2", "8", "PASS")])
        self.assertTrue(all(float(row["efficiency"]) > 0 for row in rows))
        self.assertEqual(list((study / "runs").rglob("step-*.h5")), [])

    def test_a_job_runs_the_count_of_its_tasks_and_keeps_what_finished(self):
        study = self.planned()
        tools = self.folder / "tools"
        tools.mkdir()
        (tools / "srun").write_text(FAKE_SRUN.format(mpiexec=MPIEXEC), encoding="utf-8")
        (tools / "srun").chmod(0o755)
        job = {"PATH": f"{tools}:/usr/bin:/bin", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "2"}

        first, again = self.batch(study, **job), self.batch(study, **job)

        self.assertEqual([line.split()[0] for line in first.out.splitlines()], ["strong-00002-1", "weak-00002-1"])
        self.assertEqual(again.out.count("is there"), 2)
        self.assertIn("missing: strong-00001-1", self.scaling("gather", study, code=1).out)

    def test_a_run_that_fails_is_told_and_the_others_go_on(self):
        study = self.planned()
        plan = study / "study.json"
        plan.write_text(plan.read_text(encoding="utf-8").replace('"packs": 4', '"packs": 100000'), encoding="utf-8")

        outcome = self.batch(study, code=1)

        self.assertEqual(outcome.out.count("FAILED (exit code 78)"), 5)
        self.assertIn("hrm: error:", pathlib.Path(study / "runs" / "strong-00001-1.log").read_text(encoding="utf-8"))

    def test_wrong_use_of_the_batch_script(self):
        self.assertIn("name the folder of a study", self.batch(code=64).err)
        self.assertIn("is not the driver", self.batch("study", code=66, HRM_SCALING=str(self.folder)).err)


if __name__ == "__main__":
    main()
