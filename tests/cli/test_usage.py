"""Help, version and wrong usage."""
import os
import subprocess

from hrm_cli import BAD_CONFIG, IO_ERROR, PROGRAM, TINY, USAGE, HrmTest, main, run_hrm, settings

COMMANDS = ("tokenizer", "prepare", "train", "eval", "generate", "inspect", "bench", "validate")
PARTS = {"tokenizer": ("train", "encode", "decode"), "bench": ("gemm", "step")}


class Usage(HrmTest):
    def test_help_lists_every_command(self):
        help_text = self.hrm("--help").out

        for command in COMMANDS:
            self.assertRegex(help_text, rf"(?m)^\s+{command}\s+\S")

    def test_every_command_has_help(self):
        for command in COMMANDS:
            self.assertIn(f"hrm {command}", self.hrm(command, "--help").out)

    def test_every_option_says_what_its_value_is(self):
        for command in COMMANDS:
            for part in PARTS.get(command, ("",)):
                help_text = self.hrm(*f"{command} {part}".split(), "--help").out
                self.assertNotRegex(help_text, r"(?m)^\s+--\S+ arg\b")
                self.assertIn("--allow-single", help_text)
        self.assertIn("(=5e-6)", self.hrm("bench", "step", "--help").out)

    def test_a_missing_or_unknown_part_of_a_command_is_64(self):
        for command, parts in PARTS.items():
            self.refused(USAGE, command, says=[f"hrm {command}: no", *parts])
            self.refused(USAGE, command, "dance", says=["'dance'", *parts])

    def test_options_that_would_be_ignored_are_64(self):
        self.refused(USAGE, "train", "run", says=["'run'"])
        self.refused(USAGE, "train", "--weights", "ema", says=["--weights", "--init-from"])
        self.refused(USAGE, "train", "--ranks", 4, says=["--ranks", "--dry-run"])
        self.refused(USAGE, "train", "--dry-run", "--ranks", -1, says=["--ranks -1"])
        self.refused(USAGE, "generate", "--prompt", "a", "--prompts", "b", says=["--prompt ", "--prompts"])

    def test_an_unknown_condition_is_64(self):
        self.refused(USAGE, "eval", "--condition", "foo", "--data", "shards", says=["--condition", "foo"])
        self.refused(USAGE, "generate", "--condition", "cot,foo", "--prompt", "a", says=["--condition", "foo"])

    def test_keys_that_a_command_does_not_use_are_78(self):
        for command in (("eval", "--data", "shards"), ("generate", "--prompt", "a"), ("validate", "file.h5")):
            self.refused(BAD_CONFIG, *command, "--set", "train.packs=3", says=["train.packs", "parallel.*"])
            self.refused(BAD_CONFIG, *command, "--set", "parallel.tensro=3", says=["parallel.tensor"])

    def test_a_short_sequence_is_measured_with_a_shorter_prefix(self):
        self.hrm("bench", "step", "--sequence", 64, "--seconds", 0.01, "--json", *settings(
            model__layers=2, model__hidden_size=64, model__num_heads=1, train__packs=1, train__pack_tokens=64))

    def test_version_names_program_and_libraries(self):
        version = self.hrm("--version").out

        for word in ("hrm 0.1.0", "MPI", "HDF5", "oneDNN"):
            self.assertIn(word, version)

    def test_wrong_usage_is_64_with_the_nearest_name(self):
        self.refused(USAGE, "trian", says=["trian", "train"])
        self.refused(USAGE, "train", "--confg", "x.cfg", says=["--confg", "--config"])
        self.refused(USAGE, "prepare", says=["--input"])

    def test_a_command_of_a_later_version_is_absent(self):
        self.refused(USAGE, "plan", says=["plan"])

    def test_no_command_at_all_is_64(self):
        self.assertEqual(run_hrm().code, USAGE)

    def test_several_single_rank_worlds_are_refused_with_the_right_command(self):
        step = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0", "SLURM_JOB_ID": "1"}

        self.refused(USAGE, "train", "--config", "x.cfg", environment=step, says=["srun --mpi=pmix -n 4"])
        self.refused(USAGE, "tokenizer", "train", environment=step, says=["4 times"])

    def test_output_that_cannot_be_written_is_74_and_a_reader_may_leave(self):
        for arguments in (("--version",), ("train", "--keys")):
            with open("/dev/full", "w") as full:
                done = subprocess.run([PROGRAM, *arguments], stdout=full, stderr=subprocess.PIPE, text=True)
            self.assertEqual(done.returncode, IO_ERROR, done.stderr)
            self.assertIn("hrm: error: cannot write to standard output: No space left", done.stderr)
            reading, writing = os.pipe()
            os.close(reading)
            done = subprocess.run([PROGRAM, *arguments], stdout=writing, stderr=subprocess.PIPE, text=True)
            os.close(writing)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_too_many_ranks_for_the_packs_are_78(self):
        outcome = run_hrm("bench", "step", "--config", TINY, *settings(train__packs=2), "--seconds", 0.1, ranks=3)

        self.check_refusal(outcome, BAD_CONFIG, ["3 ranks", "2 packs"])


if __name__ == "__main__":
    main()
