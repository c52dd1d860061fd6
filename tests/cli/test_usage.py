"""Help, version and wrong usage."""
from hrm_cli import USAGE, HrmTest, main, run_hrm

COMMANDS = ("tokenizer", "prepare", "train", "eval", "generate", "inspect", "bench", "validate")


class Usage(HrmTest):
    def test_help_lists_every_command(self):
        help_text = self.hrm("--help").out

        for command in COMMANDS:
            self.assertRegex(help_text, rf"(?m)^\s+{command}\s+\S")

    def test_every_command_has_help(self):
        for command in COMMANDS:
            self.assertIn(f"hrm {command}", self.hrm(command, "--help").out)

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


if __name__ == "__main__":
    main()
