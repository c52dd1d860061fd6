#!/usr/bin/env bash
# The demo of README.md, from text to a trained, restarted and evaluated HRM. Called by ./bootstrap.sh demo;
# needs build/hrm. Everything it makes lies in demo/, which a new demo replaces.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

hrm=build/hrm
ranks=(mpirun -n 2)
threads=$((($(nproc) + 1) / 2)) # per rank
stop_after=${DEMO_STOP_AFTER:-1000}
started=$SECONDS

say() { printf '\n== [%3d s] %s\n' $((SECONDS - started)) "$*"; }

step() { # prints a command as a user would type it, then runs it
  printf '   $'
  printf ' %q' "$@"
  printf '\n'
  "$@"
}

rm -rf demo
mkdir demo

say "corpus: WordNet's definitions and generated tasks with checkable answers"
step /usr/bin/python3 validation/demo_corpus.py --out demo

say "tokenizer"
step "$hrm" tokenizer train --input demo/train.jsonl --vocab-size 2048 --out demo/tokenizer.json

say "shards"
step "${ranks[@]}" "$hrm" prepare --input demo/train.jsonl --tokenizer demo/tokenizer.json --out demo/shards
step "${ranks[@]}" "$hrm" prepare --input demo/heldout.jsonl --tokenizer demo/tokenizer.json --out demo/heldout

train=("${ranks[@]}" "$hrm" train --config configs/demo.cfg --set data.path=demo/shards --set eval.path=demo/heldout
  --set checkpoint.dir=demo/run --set device.threads="$threads")
say "training on 2 ranks; it is told to stop after $stop_after steps, as a scheduler would"
code=0
step "${train[@]}" --stop-after "$stop_after" || code=$?
if [[ $code != 75 ]]; then
  printf 'demo: error: the stopped run ended with %s, not with 75 (stopped, checkpoint written)\n' "$code" >&2
  exit 1
fi

say "it stopped with exit code 75: a checkpoint is written. The same command goes on from there"
step "${train[@]}" --resume auto

say "what the checkpoint holds"
step "$hrm" inspect demo/run/latest.h5 --verify

say "held-out problems, answered freely and greedily with the averaged (EMA) weights, and held-out loss"
step "$hrm" eval --checkpoint demo/run/latest.h5 --benchmark demo/eval.jsonl --data demo/heldout

say "a few answers"
while IFS= read -r prompt; do
  step "$hrm" generate --checkpoint demo/run/latest.h5 --condition direct --prompt "$prompt"
done <demo/prompts.txt

say "done. Everything lies in demo/:"
cat <<'END'
   demo/train.jsonl demo/heldout.jsonl demo/eval.jsonl   the corpus, held-out text, held-out problems
   demo/tokenizer.json demo/shards/ demo/heldout/        tokenizer and HDF5 shards
   demo/run/latest.h5 demo/run/metrics.h5                the newest checkpoint, the curves
   build/hrm generate --checkpoint demo/run/latest.h5 --condition direct --prompt "47 + 38 ="
END
