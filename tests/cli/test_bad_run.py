"""Bad shards, checkpoints, configurations and folders for hrm train: one message, the right code, no hang."""
import os
import shutil

from hrm_cli import (BAD_CONFIG, BAD_DATA, CANNOT_CREATE, MPIEXEC, NO_INPUT, PROGRAM, STOPPED, TINY, HrmTest, launch,
                     main, run_hrm, settings, sums, write_jsonl)


def damaged(path, byte_from_the_end=2000):
    with open(path, "r+b") as file:
        file.seek(-byte_from_the_end, os.SEEK_END)
        old = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([old[0] ^ 1]))


class BadRun(HrmTest):
    def setUp(self):
        super().setUp()
        self.data, self.tok = self.shards(sums(600))
        self.run_folder = self.folder / "run"

    def train_refused(self, code, says, *arguments, ranks=None, **values):
        values = {"data__path": self.data, "checkpoint__dir": self.run_folder, "device__threads": 1, **values}
        self.refused(code, "train", "--config", TINY, *settings(**values), *arguments, ranks=ranks, says=says)

    def checkpoint(self, step=3):
        self.train(self.data, self.run_folder, "--stop-after", step, code=STOPPED)
        return self.run_folder / f"step-{step:08d}.h5"

    # --- shards

    def test_missing_shards(self):
        self.train_refused(NO_INPUT, ["nowhere"], data__path=self.folder / "nowhere")

    def test_truncated_shard(self):
        shard = self.data / "shard-00000.h5"
        os.truncate(shard, shard.stat().st_size // 2)

        self.train_refused(BAD_DATA, ["shard-00000.h5"])

    def test_damaged_shard(self):
        damaged(self.data / "shard-00000.h5")

        self.train_refused(BAD_DATA, ["shard-00000.h5"], ranks=2)

    def test_foreign_file_in_place_of_a_shard(self):
        (self.data / "shard-00000.h5").write_bytes(b"not HDF5 at all\n" * 1000)

        self.train_refused(BAD_DATA, ["shard-00000.h5"])

    def test_shard_damaged_on_one_rank_only(self):
        places = [self.folder / "node0", self.folder / "node1"]
        for place in places:
            shutil.copytree(self.data, place / "shards")
        damaged(places[1] / "shards" / "shard-00000.h5")
        program = [PROGRAM, "train", "--config", TINY,
                   *settings(data__path="shards", checkpoint__dir=self.run_folder, device__threads=1)]

        outcome = launch([MPIEXEC, "-n", "1", "-wdir", places[0], *program,
                          ":", "-n", "1", "-wdir", places[1], *program], timeout=60)

        self.check_refusal(outcome, BAD_DATA, ["rank 1", "shard-00000.h5"])

    def test_held_out_shards_of_another_tokenizer(self):
        words = [{"instruction": f"say {word}", "response": word * 3} for word in ("alpha", "beta", "gamma")]
        other = self.tokenizer(write_jsonl(self.folder / "words.jsonl", words), 350, "other.json")
        held, _ = self.shards(words, "held", tokenizer=other)

        self.train_refused(BAD_CONFIG, ["held"], eval__path=held)
        self.refused(BAD_CONFIG, "eval", "--checkpoint", self.checkpoint(), "--data", held, says=["held"])

    def test_corpus_smaller_than_one_batch(self):
        small, _ = self.shards(sums(5), "small", tokenizer=self.tok)

        self.train_refused(BAD_CONFIG, ["train.packs"], data__path=small)

    def test_samples_longer_than_the_model_takes(self):
        self.train_refused(BAD_CONFIG, ["model.max_seq_len"], model__max_seq_len=8)

    # --- configuration

    def test_typing_error_in_a_file(self):
        config = self.folder / "typo.cfg"
        config.write_text("[train]\n\nlearning_rat = 1e-3\n", encoding="utf-8")

        self.train_refused(BAD_CONFIG, ["typo.cfg:3", "learning_rat", "train.learning_rate"], "--config", config)

    def test_typing_error_in_a_setting(self):
        self.train_refused(BAD_CONFIG, ["train.pakcs", "train.packs"], train__pakcs=2)

    def test_value_out_of_range(self):
        self.train_refused(BAD_CONFIG, ["train.packs"], train__packs=0)

    def test_missing_file(self):
        self.train_refused(NO_INPUT, ["nowhere.cfg"], "--config", self.folder / "nowhere.cfg")

    def test_heads_that_do_not_divide_the_width(self):
        self.train_refused(BAD_CONFIG, ["model.num_heads"], model__num_heads=5)

    def test_more_ranks_than_packs(self):
        self.train_refused(BAD_CONFIG, ["train.packs"], train__packs=1, ranks=2)

    # --- the plan

    def test_the_plan_refuses_what_the_run_refuses(self):
        nowhere = self.folder / "nowhere"
        refusals = ((BAD_CONFIG, ["run.time_limit = foo"], (), {"run__time_limit": "foo"}),
                    (NO_INPUT, ["nowhere"], (), {"eval__path": nowhere}),
                    (NO_INPUT, ["nowhere"], (), {"eval__benchmark": nowhere}),
                    (NO_INPUT, ["nowhere"], ("--init-from", nowhere), {}),
                    (NO_INPUT, ["--resume latest"], ("--resume", "latest"), {}))
        for code, says, arguments, values in refusals:
            self.train_refused(code, says, "--dry-run", *arguments, **values)
        self.train_refused(BAD_CONFIG, ["train.packs"], "--dry-run", "--ranks", 8, train__packs=1)
        planned = self.train(self.data, self.run_folder, "--dry-run", train__lr_warmup_steps=40)
        self.assertIn("would be refused: train.lr_warmup_steps = 40", planned.err)
        self.assertFalse(self.run_folder.exists())

        for code, says, arguments, values in refusals:
            self.train_refused(code, says, *arguments, **values)
        self.train_refused(BAD_CONFIG, ["train.lr_warmup_steps = 40"], train__lr_warmup_steps=40)

    def test_the_plan_looks_at_the_run_that_it_goes_on_with(self):
        self.checkpoint()
        before = sorted((path.name, path.lstat().st_mtime_ns) for path in self.run_folder.iterdir())

        planned = self.train(self.data, self.run_folder, "--dry-run")
        self.assertIn("--resume auto", planned.err)
        self.train_refused(BAD_CONFIG, ["train.seed"], "--dry-run", "--resume", "auto", train__seed=5)
        self.train(self.data, self.run_folder, "--dry-run", "--resume", "auto", ranks=2)

        self.assertEqual(sorted((path.name, path.lstat().st_mtime_ns) for path in self.run_folder.iterdir()), before)

    # --- run folder and checkpoints

    def test_run_folder_that_cannot_be_made(self):
        (self.folder / "file").write_text("in the way", encoding="utf-8")

        self.train_refused(CANNOT_CREATE, ["file"], checkpoint__dir=self.folder / "file" / "run")

    def test_too_little_room_for_the_checkpoints(self):
        self.train_refused(CANNOT_CREATE, ["run"], checkpoint__keep_last=1000000)

    def test_start_in_a_folder_that_holds_a_run(self):
        self.checkpoint()

        self.train_refused(CANNOT_CREATE, ["--resume"])

    def test_resume_without_a_checkpoint(self):
        self.train_refused(NO_INPUT, ["run"], "--resume", "latest")

    def test_resume_with_another_architecture(self):
        self.checkpoint()

        self.train_refused(BAD_CONFIG, ["model.architecture"], "--resume", "auto", model__architecture="trm")
        self.train_refused(BAD_CONFIG, ["model.layers"], "--resume", "auto", model__layers=2)

    def test_resume_passes_over_a_damaged_checkpoint(self):
        newest = self.checkpoint(step=4)
        shutil.copy(newest, self.run_folder / "step-00000009.h5")
        damaged(self.run_folder / "step-00000009.h5")

        outcome = self.train(self.data, self.run_folder, "--resume", "auto", "--stop-after", "6", code=STOPPED)

        self.assertIn("step-00000009.h5", outcome.out + outcome.err)
        self.assertTrue((self.run_folder / "step-00000006.h5").exists())

    def test_only_damaged_checkpoints(self):
        damaged(self.checkpoint())

        self.train_refused(NO_INPUT, ["step-00000003.h5"], "--resume", "auto")

    def test_truncated_and_foreign_checkpoints_are_named(self):
        checkpoint = self.checkpoint()
        os.truncate(checkpoint, checkpoint.stat().st_size - 100)
        foreign = self.folder / "foreign.h5"
        foreign.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(3000))

        self.refused(BAD_DATA, "inspect", checkpoint, "--verify", says=["step-00000003.h5"])
        self.refused(BAD_DATA, "inspect", foreign, "--verify", says=["foreign.h5"])
        self.refused(BAD_DATA, "generate", "--checkpoint", foreign, "--prompt", "1 + 1 =", says=["foreign.h5"])

    def test_every_flipped_bit_is_found(self):
        checkpoint = self.checkpoint()
        size = checkpoint.stat().st_size
        for distance in range(100, size, size // 12):
            damaged(checkpoint, distance)
            self.assertEqual(run_hrm("inspect", checkpoint, "--verify").code, BAD_DATA, f"{distance} bytes from the end")
            damaged(checkpoint, distance)
        self.hrm("inspect", checkpoint, "--verify")


if __name__ == "__main__":
    main()
