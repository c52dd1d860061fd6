"""hrm validate on the golden files: on one rank, and on every layout of ranks that they allow."""
import os
import pathlib

from hrm_cli import BAD_CONFIG, CHECK_FAILED, NO_INPUT, HrmTest, main, settings

GOLDEN = pathlib.Path(os.environ["CLI_DATA"]) / "golden"
FILES = sorted(GOLDEN.glob("*.h5")) + sorted(GOLDEN.glob("*.json"))
RANKS = GOLDEN / "ranks_hrm_x2.h5"
MODEL = GOLDEN / "hrm_prefixlm_bp3.h5"


class Validate(HrmTest):
    def validate(self, files, *arguments, code=0, ranks=None, **values):
        """Lines as (file, quantity, error, limit, verdict)."""
        outcome = self.hrm("validate", *files, *arguments, *settings(device__threads=1, **values), code=code,
                           ranks=ranks)
        lines = [tuple(line.rsplit(" ", 4)) for line in outcome.out.splitlines()]
        self.assertGreater(len(lines), 0, outcome)
        self.assertTrue(all(len(line) == 5 for line in lines), outcome)
        return lines

    def quantities(self, *arguments, **options):
        lines = self.validate(*arguments, **options)
        self.assertEqual({line[4] for line in lines}, {"PASS"})
        return [line[:2] for line in lines]

    def test_ranks_that_share_the_model(self):
        alone = self.quantities(FILES)

        for values in ({}, {"parallel__zero": 0}, {"parallel__sequence": "false"},
                       {"parallel__overlap": "false", "train__deterministic": "false"}):
            self.assertEqual(self.quantities(FILES, ranks=2, parallel__tensor=2, **values), alone)

    def test_ranks_that_share_the_model_in_bf16(self):
        self.quantities(FILES, "--precision", "bf16", ranks=2, parallel__tensor=2)

    def test_ranks_that_share_the_packs(self):
        alone = self.validate([RANKS])

        for zero in (0, 1):
            self.assertEqual(self.validate([RANKS], ranks=2, parallel__zero=zero), alone)

    def test_ranks_that_share_packs_and_model(self):
        group = self.validate([RANKS], ranks=2, parallel__tensor=2)

        for zero in (0, 1):
            self.assertEqual(self.validate([RANKS], ranks=4, parallel__tensor=2, parallel__zero=zero), group)
        self.assertEqual({line[4] for line in group}, {"PASS"})

    def test_a_difference_is_1_on_every_layout(self):
        for ranks, tensor in ((None, 1), (2, 2)):
            lines = self.validate([MODEL], "--tolerance", 1e-12, code=CHECK_FAILED, ranks=ranks,
                                  parallel__tensor=tensor)
            self.assertEqual({line[4] for line in lines}, {"PASS", "FAIL"})

    def test_other_layouts_are_refused_with_those_that_work(self):
        for file, ranks, tensor, says in ((MODEL, 2, 1, "at most 1 ranks"), (RANKS, 3, 1, "at most 2 ranks"),
                                          (MODEL, 3, 3, "model.num_heads = 2"), (RANKS, 3, 2, "the 3 ranks"),
                                          (GOLDEN / "decode_hrm.h5", 4, 4, "1, 2")):
            outcome = self.refused(BAD_CONFIG, "validate", file, *settings(parallel__tensor=tensor), ranks=ranks,
                                   says=[f"parallel.tensor = {tensor}" if tensor > 1 else file.name, says])
            self.assertNotIn("FAIL", outcome.out)

    def test_a_missing_file_is_told_once(self):
        self.refused(NO_INPUT, "validate", self.folder / "none.h5", ranks=2, says=["none.h5"])


if __name__ == "__main__":
    main()
