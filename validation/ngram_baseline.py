"""Held-out response loss of a unigram and of a bigram model over the very tokens that hrm trains on.

usage: ngram_baseline.py --train SHARDS --heldout SHARDS [--json]

Counts the supervised tokens of the training shards (every response token with its end tag; nothing of the
instructions) and prints, in nats per response token of the held-out shards:
  unigram  p(t) = (n(t) + k) / (n + k V)
  bigram   p(t|u) = w (n(u,t) / n(u)) + (1 - w) p(t),  with u the token before t in the sample
The smoothing k and the weight w are chosen on a tenth of the training samples that is then counted too.
Needs h5py and numpy.
"""
import argparse
import json
import pathlib

import h5py
import numpy

SMOOTHING = (0.01, 0.1, 0.5, 1.0)
WEIGHTS = numpy.linspace(0.05, 0.95, 19)
TUNING = 10  # one training sample in 10 tunes k and w


def read_responses(folder):
    """(previous tokens, tokens, sample numbers) of every supervised position, and the vocabulary size."""
    parts, vocabulary, first = [], 0, 0
    for path in sorted(pathlib.Path(folder).glob("shard-*.h5")):
        with h5py.File(path, "r") as shard:
            tokens = shard["tokens"][:].astype(numpy.int64)
            start = shard["index/offset"][:].astype(numpy.int64) + shard["index/instruction_length"][:]
            length = shard["index/response_length"][:].astype(numpy.int64)
            vocabulary = max(vocabulary, int(shard.attrs["vocab_size"]))
        sample = numpy.repeat(numpy.arange(len(start)), length)
        within = numpy.arange(length.sum()) - numpy.repeat(numpy.cumsum(length) - length, length)
        position = start[sample] + within
        parts.append((tokens[position - 1], tokens[position], sample + first))
        first += len(start)
    if not parts:
        raise SystemExit(f"{folder} holds no shard-*.h5")
    return tuple(numpy.concatenate(columns) for columns in zip(*parts)), vocabulary


class NgramModel:
    """Counts of single tokens and of pairs."""

    def __init__(self, previous, token, vocabulary):
        self.vocabulary = vocabulary
        self.single = numpy.bincount(token, minlength=vocabulary)
        self.context = numpy.bincount(previous, minlength=vocabulary)
        self.pairs, self.pair_counts = numpy.unique(previous * vocabulary + token, return_counts=True)

    def unigram(self, token, k):
        return (self.single[token] + k) / (self.single.sum() + k * self.vocabulary)

    def pair_share(self, previous, token):
        """n(u,t) / n(u), and 0 where u was never seen."""
        key = previous * self.vocabulary + token
        place = numpy.minimum(numpy.searchsorted(self.pairs, key), len(self.pairs) - 1)
        count = numpy.where(self.pairs[place] == key, self.pair_counts[place], 0)
        return count / numpy.maximum(self.context[previous], 1)

    def bigram(self, previous, token, k, w):
        return numpy.where(self.context[previous] > 0,
                           w * self.pair_share(previous, token) + (1 - w) * self.unigram(token, k),
                           self.unigram(token, k))


def loss(probabilities):
    return float(-numpy.log(probabilities).mean())


def tune(previous, token, sample, vocabulary):
    """(k of the unigram, (k, w) of the bigram) with the smallest loss on the tuning samples."""
    held = sample % TUNING == 0
    if held.all() or not held.any():
        return 1.0, (1.0, 0.5)
    model = NgramModel(previous[~held], token[~held], vocabulary)
    unigram = min(SMOOTHING, key=lambda k: loss(model.unigram(token[held], k)))
    grid = [(k, w) for k in SMOOTHING for w in WEIGHTS]
    bigram = min(grid, key=lambda pair: loss(model.bigram(previous[held], token[held], *pair)))
    return unigram, bigram


def baselines(train_folder, heldout_folder):
    (previous, token, sample), vocabulary = read_responses(train_folder)
    (held_previous, held_token, _), held_vocabulary = read_responses(heldout_folder)
    if vocabulary != held_vocabulary:
        raise SystemExit(f"the shards have vocabularies of {vocabulary} and {held_vocabulary} tokens: "
                         "prepare both with one tokenizer")
    unigram_k, (k, w) = tune(previous, token, sample, vocabulary)
    model = NgramModel(previous, token, vocabulary)
    return {"train_tokens": len(token), "heldout_tokens": len(held_token),
            "unigram": loss(model.unigram(held_token, unigram_k)), "unigram_k": unigram_k,
            "bigram": loss(model.bigram(held_previous, held_token, k, w)), "bigram_k": k, "bigram_w": float(w)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True, help="folder of training shards")
    parser.add_argument("--heldout", required=True, help="folder of held-out shards")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    arguments = parser.parse_args()
    result = baselines(arguments.train, arguments.heldout)
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{result['train_tokens']} response tokens counted, {result['heldout_tokens']} held out")
    print(f"unigram {result['unigram']:.4f} nats per response token (k = {result['unigram_k']})")
    print(f"bigram  {result['bigram']:.4f} nats per response token (k = {result['bigram_k']}, w = {result['bigram_w']:.2f})")


if __name__ == "__main__":
    main()
