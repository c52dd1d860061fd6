"""A rank that stops answering ends the job with 69 within the limit, says who waits where, and loses nothing."""
import json
import os
import pathlib
import signal
import subprocess
import time

from hrm_cli import MPI_ENVIRONMENT, MPIEXEC, PROGRAM, TINY, HrmTest, main, settings, sums

LOST_PEER = 69


def children(pid):
    """Processes whose parent is `pid`."""
    found = []
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile
        if int(fields[1]) == pid:
            found.append(int(stat.parent.name))
    return found


def rank_of(pid):
    environment = pathlib.Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    return next((int(entry[21:]) for entry in environment if entry.startswith(b"OMPI_COMM_WORLD_RANK=")), None)


class Hangs(HrmTest):
    def start(self, run, data):
        command = [MPIEXEC, "-n", "3", PROGRAM, "train", "--config", TINY, *settings(
            data__path=data, checkpoint__dir=run, train__max_steps=100000, checkpoint__interval_steps=5,
            watchdog__least_seconds=2, device__threads=1)]
        return subprocess.Popen([str(word) for word in command], env={**os.environ, **MPI_ENVIRONMENT},
                                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def wait_for_checkpoint(self, job, run):
        for _ in range(600):
            if (run / "latest.h5").exists():
                return
            self.assertIsNone(job.poll())
            time.sleep(0.1)
        self.fail("no checkpoint within a minute")

    def test_a_stopped_rank_is_named(self):
        for rank in (2, 0):
            with self.subTest(rank=rank):
                data, _ = self.shards(sums(600), name=f"shards{rank}")
                run = self.folder / f"run{rank}"
                job = self.start(run, data)
                self.wait_for_checkpoint(job, run)
                victim = next(pid for pid in children(job.pid) if rank_of(pid) == rank)
                os.kill(victim, signal.SIGSTOP)
                try:
                    _, err = job.communicate(timeout=60)
                finally:
                    os.kill(victim, signal.SIGKILL)

                text = err.decode()
                self.assertEqual(job.returncode, LOST_PEER, text)
                self.assertEqual(text.count("hrm: error: "), 1, text)
                self.assertIn(f"no word from rank {rank} on ", text)
                self.assertIn("waits in ", text)
                status = json.loads((run / "status.json").read_text(encoding="utf-8"))
                self.assertEqual((status["state"], status["exit_code"]), ("lost_peer", LOST_PEER))
                self.assertTrue(status["suspect_hosts"])
                last = run / "latest.h5"
                self.hrm("inspect", last, "--verify")


if __name__ == "__main__":
    main()
