"""What slurm/train.sbatch does about each verdict of a run. A stand-in for the program writes them."""
import os

from slurm_cluster import SCRIPTS, SlurmTest, until

import hrm_cli
from hrm_cli import CANNOT_CREATE, STOPPED

LOST_PEER, NUMERICS, KILLED = 69, 76, 137

# Runs $EARLIER when it is asked for its configuration, then $DEED, in which `commit STEP` leaves a checkpoint and
# `verdict STATE EXIT_CODE` a status.
STAND_IN = """#!/bin/bash
mkdir -p "$RUN"
case " $* " in *" --print-config "*)
  eval "$EARLIER"
  printf '[data]\\npath = %s  # --set\\n\\n[checkpoint]\\ndir = %s  # --set\\n\\n' "$RUN.shards" "$RUN"
  exit ;;
esac
commit() { touch "$RUN/step-0000000$1.h5"; }
verdict() {
  printf '{\\n  "state": "%s",\\n  "exit_code": %s,\\n  "reason": "a \\\\"reason\\\\", told",\\n  "job_id": "%s",
  "suspect_hosts": %s,\\n  "updated_at": "now"\\n}\\n' "$1" "$2" "${3:-$SLURM_JOB_ID}" "${4:-null}" >"$RUN/status.tmp"
  mv "$RUN/status.tmp" "$RUN/status.json"
}
restart=${SLURM_RESTART_COUNT:-0}
eval "$DEED"
"""


class Verdicts(SlurmTest):
    def run_once(self, deed, script="train.sbatch", options=(), **environment):
        return self.submit_stand_in(SCRIPTS / script, deed=deed, options=("--ntasks=1", *options), **environment)

    def submit_stand_in(self, *script, deed, options, **environment):
        program = self.folder / "stand-in"  # proctrack/linuxproc loses processes with a blank in their name
        program.write_text(STAND_IN)
        program.chmod(0o755)
        return self.submit(*script, options=options, environment={
            "HRM_PROGRAM": str(program), "RUN": str(self.folder / "run"), "DEED": deed, "EARLIER": "", **environment})

    def fails_at_once(self, deed, code, **environment):
        job = self.run_once(deed, **environment)
        fields = job.ended("FAILED", code)
        self.assertEqual(fields["Restarts"], "0", job.log())
        return job

    def wait_for(self, job, name):
        until(lambda: (self.folder / "run" / name).exists(), job.describe)

    def test_lost_peer_is_left_out_next_time(self):
        # srun shows 137 for a rank that ended itself with 69
        job = self.run_once("""commit 1; ((restart)) && { verdict finished 0; exit; }
                               verdict lost_peer 69 "" '"node1"'; kill -KILL $$""")

        fields = job.requeued()

        self.assertEqual(fields["ExcNodeList"], "node1", job.log())
        self.assertEqual(job.ended("COMPLETED")["NodeList"], "node2")

    def test_lost_peer_without_progress_is_not_requeued(self):
        self.fails_at_once("verdict lost_peer 69; exit 69", LOST_PEER)

    def test_killed_run_without_progress_is_not_requeued(self):
        self.fails_at_once("verdict running null; kill -KILL $$", KILLED)

    def test_program_that_does_not_train_succeeds(self):
        self.run_once("true").ended("COMPLETED")

    def test_stop_without_progress_is_not_requeued(self):
        self.fails_at_once("verdict stopped 75; exit 75", STOPPED)

    def test_stop_before_the_first_step_is_not_requeued(self):
        self.fails_at_once("commit 0; verdict stopped 75; exit 75", STOPPED)

    def test_run_that_went_back_to_an_older_checkpoint_gets_further(self):
        job = self.run_once("""case $restart in
                               0) commit 5; verdict stopped 75; exit 75 ;;
                               1) mv "$RUN/step-00000005.h5" "$RUN/step-00000005.h5.old-1"
                                  commit 3; verdict stopped 75; exit 75 ;;
                               *) verdict finished 0 ;;
                               esac""")

        job.requeued()
        job.requeued(2)

        job.ended("COMPLETED")

    def test_numerics_are_not_requeued(self):
        job = self.fails_at_once("commit 1; verdict failed 76; exit 76", NUMERICS)

        self.assertIn('a \\"reason\\", told', job.log())

    def test_verdict_of_another_job_does_not_count(self):
        self.fails_at_once("commit 1; verdict stopped 75 4711; exit 75", STOPPED)

    def test_verdict_of_an_earlier_start_does_not_count(self):
        job = self.run_once("((restart)) && exit 73; commit 1; verdict stopped 75; exit 75")

        job.requeued()

        job.ended("FAILED", CANNOT_CREATE)

    def test_refused_start_is_not_requeued(self):
        self.fails_at_once("commit 1; exit 73", CANNOT_CREATE)

    def test_run_that_was_killed_before_it_wrote_a_status_is_not_requeued(self):
        job = self.fails_at_once("kill -USR1 $$", 138)

        self.assertIn("no step was saved", job.log())

    def test_number_of_requeues_is_limited(self):
        job = self.run_once("commit $((restart + 1)); verdict stopped 75; exit 75", HRM_MAX_REQUEUES="1")

        job.requeued()

        job.ended("FAILED", STOPPED)
        self.assertIn("HRM_MAX_REQUEUES=1", job.log())

    def test_preempted_before_the_first_checkpoint_is_requeued(self):
        job = self.run_once("""((restart)) && { verdict finished 0; exit; }
                               trap 'verdict stopped 75; exit 75' USR1
                               touch "$RUN/ready"; while :; do sleep 0.1; done""")
        self.wait_for(job, "ready")

        other = self.submit(SCRIPTS / "prepare.sbatch", options=["--partition=high", "--nodes=2", "--exclusive"],
                            environment={"HRM_PROGRAM": "/bin/true"})

        job.requeued()
        job.ended("COMPLETED")
        other.ended("COMPLETED")

    def test_preempted_run_that_ignores_every_signal_is_killed_and_goes_on(self):
        for partition in ("low", "abrupt"):  # with time of grace and without
            with self.subTest(partition=partition):
                ready = f"ready-{partition}"
                job = self.run_once(f"""((restart)) && {{ verdict finished 0; exit; }}
                                        trap '' USR1 TERM
                                        commit 1; touch "$RUN/{ready}"; while :; do sleep 0.1; done""",
                                    options=[f"--partition={partition}"])
                self.wait_for(job, ready)

                other = self.submit(SCRIPTS / "prepare.sbatch", environment={"HRM_PROGRAM": "/bin/true"},
                                    options=["--partition=high", "--nodes=2", "--exclusive"])

                job.requeued()
                job.ended("COMPLETED")
                other.ended("COMPLETED")

    def test_preempted_while_it_was_set_up_is_requeued(self):
        job = self.run_once("""((restart)) && { verdict finished 0; exit; }
                               trap 'exit 75' USR1
                               touch "$RUN/ready"; while :; do sleep 0.1; done""")
        self.wait_for(job, "ready")

        other = self.submit(SCRIPTS / "prepare.sbatch", options=["--partition=high", "--nodes=2", "--exclusive"],
                            environment={"HRM_PROGRAM": "/bin/true"})

        job.requeued()
        job.ended("COMPLETED")
        other.ended("COMPLETED")

    def test_signal_to_the_batch_shell_before_the_launch_forbids_it(self):
        for name in ("USR1", "TERM"):
            with self.subTest(signal=name):
                job = self.run_once('touch "$RUN/launched"; verdict finished 0',
                                    EARLIER=f"""touch "$RUN/asked-{name}"; until [[ -e "$RUN/go-{name}" ]]; do
                                                sleep 0.1; done""")
                self.wait_for(job, f"asked-{name}")

                job.signal(name, "--batch")
                (self.folder / "run" / f"go-{name}").touch()

                job.ended("FAILED", STOPPED)
                self.assertFalse((self.folder / "run" / "launched").exists(), job.log())
                self.assertIn("told to stop", job.log())

    def test_preempted_while_the_shards_are_copied_is_requeued(self):
        (self.folder / "run.shards").mkdir()
        tools = self.folder / "tools"
        tools.mkdir()
        (tools / "cp").write_text("""#!/bin/bash
                                     ((${SLURM_RESTART_COUNT:-0})) && exec /bin/cp "$@"
                                     touch "$RUN/copying"; exec sleep 600""".replace(" " * 37, ""))
        (tools / "cp").chmod(0o755)
        staged = self.folder / "own disk"
        job = self.run_once('touch "$RUN/launched-$restart"; verdict finished 0', options=["--signal=B:USR1@60"],
                            PATH=f"{tools}:{os.environ['PATH']}", HRM_STAGE_DIR=str(staged))
        self.wait_for(job, "copying")

        other = self.submit(SCRIPTS / "prepare.sbatch", options=["--partition=high", "--nodes=2", "--exclusive"],
                            environment={"HRM_PROGRAM": "/bin/true"})

        job.requeued()
        job.ended("COMPLETED")
        other.ended("COMPLETED")
        launched = [path.name for path in (self.folder / "run").glob("launched-*")]
        self.assertEqual((launched, list(staged.iterdir())), (["launched-1"], []), job.log())

    def test_cancelled_job_stays_cancelled(self):
        job = self.run_once("""trap 'commit 2; verdict stopped 75; exit 75' TERM USR1
                               commit 1; while :; do sleep 0.1; done""")
        self.wait_for(job, "step-00000001.h5")

        job.cancel()

        self.wait_for(job, "step-00000002.h5")
        until(lambda: not job.step_daemons(), job.describe)
        fields = job.show()
        self.assertEqual((fields["JobState"], fields["Restarts"]), ("CANCELLED", "0"), job.log())

    def test_paper_run_takes_its_configuration_and_more_arguments(self):
        job = self.submit_stand_in(SCRIPTS / "xl_2node.sbatch", "--set", "data.path=a b", deed="printf '<%s>' \"$@\"",
                                   options=("--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=1", "--time=10"))

        job.ended("COMPLETED")

        self.assertIn(f"<--config><{SCRIPTS}/../configs/XL.cfg><--set><data.path=a b>", job.log())

    def test_failed_link_ends_the_chain(self):
        first, second = (self.run_once("commit 1; verdict failed 76; exit 76", script="chain.sbatch",
                                       options=["--job-name=a chain"]) for _ in range(2))

        first.ended("FAILED", NUMERICS)

        self.assertEqual(second.ended("CANCELLED")["Restarts"], "0")

    def test_last_link_says_that_the_run_is_not_done(self):
        link = self.run_once("commit 1; verdict stopped 75; exit 75", script="chain.sbatch")

        link.ended("FAILED", STOPPED)

        self.assertIn("last link", link.log())


if __name__ == "__main__":
    hrm_cli.main()
