"""Nothing gets its final name before what it holds is on the disk: the order of writes, fsync and rename on two ranks, as
a preloaded library sees it.
"""
import collections
import os
import pathlib

from hrm_cli import HrmTest, main, sums

LIBRARY = os.environ["CLI_FILE_CALLS"]
Call = collections.namedtuple("Call", "time pid call path other")


class Durability(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, _ = self.shards(sums(600))

    def calls(self, name, environment=None, **values):
        """What two ranks of a short run did to its folder, in order."""
        log = self.folder / f"{name}.calls"
        run = self.folder.resolve() / name
        self.train(self.data, run, ranks=2, train__max_steps=6, checkpoint__interval_steps=2,
                   environment={"LD_PRELOAD": LIBRARY, "FILE_CALLS_LOG": str(log), "FILE_CALLS_FOLDER": str(run),
                                **(environment or {})},
                   **values)
        lines = [line.split("\t") for line in log.read_text(encoding="utf-8").splitlines()]
        return run, sorted(Call(int(time), int(pid), call, pathlib.Path(path), pathlib.Path(other))
                           for time, pid, call, path, other in lines)

    @staticmethod
    def first(calls, wanted, after=0):
        return next((i for i in range(after, len(calls)) if wanted(calls[i])), None)

    def check_folder_is_synced(self, calls, at, run):
        """The renaming rank syncs the folder before it does anything else to it."""
        own = [call for call in calls[at + 1:] if call.pid == calls[at].pid]
        self.assertEqual((own[0].call, own[0].path), ("fsync", run), calls[at])

    def check_checkpoint(self, calls, at, run):
        """Returns the ranks that wrote the file renamed by calls[at]."""
        temporary = calls[at].path
        about = [call for call in calls if call.path == temporary]
        writers = {call.pid for call in about if call.call == "write"}
        for pid in writers:
            last_write = max(call.time for call in about if call.call == "write" and call.pid == pid)
            synced = [call for call in about if call.call == "fsync" and call.pid == pid]
            self.assertTrue(any(last_write < call.time < calls[at].time for call in synced), (pid, temporary))
        self.assertLess(max(call.time for call in about if call.call == "write"), calls[at].time, temporary)
        self.check_folder_is_synced(calls, at, run)
        return writers

    def check(self, name="run", **values):
        run, calls = self.calls(name, **values)
        renames = [i for i, call in enumerate(calls) if call.call == "rename" and call.other.match("step-*.h5")]
        self.assertEqual([calls[i].other.name for i in renames], [f"step-{step:08}.h5" for step in (2, 4, 6)])
        for at in renames:
            self.assertEqual(len(self.check_checkpoint(calls, at, run)), 2, "both ranks write")
            link = self.first(calls, lambda call: call.call == "rename" and call.other == run / "latest.h5", at)
            self.assertIsNotNone(link)
            self.assertGreater(link, at + 1)
            self.check_folder_is_synced(calls, link, run)
        # Who owns the temporaries is on the disk before there are any.
        status = self.first(calls, lambda call: call.call == "rename" and call.other == run / "status.json")
        temporary = self.first(calls, lambda call: call.path.match(".step-*"))
        self.assertLess(status, temporary)
        self.assertIn(("fsync", calls[status].path), [(call.call, call.path) for call in calls[:status]])
        self.check_folder_is_synced(calls, status, run)
        self.assertNotIn("fsync failed", {call.call for call in calls})
        return run, calls

    def test_saves_in_the_background(self):
        self.check()

    def test_saves_at_once(self):
        self.check(checkpoint__async="false")

    def takes_direct_writes(self):
        try:
            os.close(os.open(self.folder / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT))
        except OSError:
            return False
        return True

    def test_a_file_system_that_refuses_direct_writes(self):
        usual, _ = self.check("usual")
        run, calls = self.check("refused", environment={"FILE_CALLS_NO_DIRECT": "1"})

        self.assertEqual("refused" in {call.call for call in calls}, self.takes_direct_writes())
        for step in (2, 4, 6):
            self.same(usual / f"step-{step:08}.h5", run / f"step-{step:08}.h5")
            self.hrm("inspect", "--verify", run / f"step-{step:08}.h5")

    def test_replicated_state(self):
        self.check(parallel__zero=0)


if __name__ == "__main__":
    main()
