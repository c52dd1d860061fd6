"""The n-gram baselines on shards that are small enough to count by hand."""
import math
import pathlib
import sys
import tempfile
import unittest

import h5py
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "validation"))
import ngram_baseline


def write_shard(folder, number, samples, vocabulary=8):
    """samples: [(instruction tokens, response tokens)]"""
    pathlib.Path(folder).mkdir(exist_ok=True)
    tokens = [token for sample in samples for part in sample for token in part]
    lengths = numpy.array([[len(instruction), len(response)] for instruction, response in samples])
    with h5py.File(pathlib.Path(folder) / f"shard-{number:05d}.h5", "w") as shard:
        shard.attrs["vocab_size"] = vocabulary
        shard["tokens"] = numpy.array(tokens, numpy.uint16)
        shard["index/offset"] = (numpy.cumsum(lengths.sum(1)) - lengths.sum(1)).astype(numpy.uint64)
        shard["index/instruction_length"] = lengths[:, 0].astype(numpy.uint32)
        shard["index/response_length"] = lengths[:, 1].astype(numpy.uint32)


class NgramBaseline(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.train = f"{self.folder.name}/train"

    def test_only_response_tokens_count_and_the_first_sees_the_instruction(self):
        write_shard(self.train, 0, [([6, 5], [1, 2, 7]), ([6], [3, 7])])
        write_shard(self.train, 1, [([6, 4], [2])])

        (previous, token, sample), vocabulary = ngram_baseline.read_responses(self.train)

        self.assertEqual(token.tolist(), [1, 2, 7, 3, 7, 2])
        self.assertEqual(previous.tolist(), [5, 1, 2, 6, 3, 4])
        self.assertEqual(sample.tolist(), [0, 0, 0, 1, 1, 2])
        self.assertEqual(vocabulary, 8)

    def test_unigram_is_the_smoothed_frequency(self):
        model = ngram_baseline.NgramModel(numpy.array([5, 1, 5]), numpy.array([1, 2, 1]), 8)

        found = model.unigram(numpy.array([1, 0]), 0.5)

        numpy.testing.assert_allclose(found, [2.5 / 7, 0.5 / 7])

    def test_bigram_mixes_pairs_with_the_unigram_and_sums_to_one(self):
        model = ngram_baseline.NgramModel(numpy.array([5, 5, 5, 1]), numpy.array([1, 1, 2, 7]), 8)
        every = numpy.arange(8)

        seen = model.bigram(numpy.full(8, 5), every, 0.1, 0.7)
        unseen = model.bigram(numpy.full(8, 3), every, 0.1, 0.7)

        self.assertAlmostEqual(seen[1], 0.7 * 2 / 3 + 0.3 * 2.1 / 4.8)
        self.assertAlmostEqual(seen.sum(), 1)
        self.assertAlmostEqual(unseen.sum(), 1)

    def test_a_chain_that_a_bigram_knows_and_a_unigram_does_not(self):
        cycle = [([6], [1, 2, 3, 4, 7]) for _ in range(40)]
        write_shard(self.train, 0, cycle)
        held = f"{self.folder.name}/held"
        write_shard(held, 0, cycle[:2])

        result = ngram_baseline.baselines(self.train, held)

        self.assertAlmostEqual(result["unigram"], math.log(5), places=2)
        self.assertLess(result["bigram"], 0.1)


if __name__ == "__main__":
    unittest.main()
