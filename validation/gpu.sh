#!/usr/bin/env bash
# Settles on a machine with CUDA GPUs what cannot be settled without: builds, checks, measures. No network, no root.
#   validation/gpu.sh [--only golden,bench] [--out FOLDER] …      (--help lists the options)
# Ends with one table and one JSON file, and with 0 only if nothing failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ ${OMPI_ALLOW_RUN_AS_ROOT:-} == "" && $(id -u) == 0 ]]; then # containers
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
exec python3 validation/gpu "$@"
