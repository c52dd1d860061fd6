# shellcheck shell=bash
# What the batch scripts of this folder share; they source it. SLURM runs a copy of a batch script, so they find this
# file from the submit folder: submit from the folder that holds slurm/, or name slurm/ by HRM_SLURM_DIR.
#
# Options of all scripts, given in the environment (sbatch --export=ALL,NAME=VALUE, or exported before sbatch):
#   HRM_PROGRAM   the executable; default build/hrm of the submit folder
#   HRM_LAUNCHER  srun (default): needs SLURM's PMIx plugin and an MPI with PMIx; signals reach every rank as they are.
#                 mpirun: needs an Open MPI that finds the allocation. It ends its ranks two seconds after a SIGTERM, so
#                 the scripts translate USR1 and TERM of the batch shell to USR1 for mpirun, which passes it on. SLURM
#                 has to signal the batch shell then: submit with --signal=B:USR1@300 (300: seconds before the end). A
#                 preemption warns with that signal only under SlurmctldParameters=preempt_send_user_signal.

submit_folder=${SLURM_SUBMIT_DIR:-$PWD}
program=${HRM_PROGRAM:-$submit_folder/build/hrm}
launcher=${HRM_LAUNCHER:-srun}
unset HRM_PROGRAM HRM_LAUNCHER HRM_SLURM_DIR # the program takes HRM_* for configuration

say() { printf '%s: %s\n' "${SLURM_JOB_NAME:-hrm}" "$*"; }

fail() { # fail CODE MESSAGE
  printf '%s: error: %s\n' "${SLURM_JOB_NAME:-hrm}" "$2" >&2
  exit "$1"
}

[[ -x $program && -f $program ]] || fail 66 "$program is no executable; build it or set HRM_PROGRAM"
case $launcher in
  # Without --kill-on-bad-exit the ranks that outlive another one wait for it until the time limit.
  srun) launch_command=(srun --mpi=pmix --kill-on-bad-exit=1) ;;
  mpirun) launch_command=(mpirun) ;;
  *) fail 64 "HRM_LAUNCHER=$launcher: give srun or mpirun" ;;
esac
if [[ -n ${SLURM_CPUS_PER_TASK:-} ]]; then
  export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK # since SLURM 22.05 srun does not take --cpus-per-task over
fi

# USR1 and TERM may reach the batch shell at any time, and several times: one that comes before a launch forbids it, one
# during it is passed on as USR1. The shell looks at signals only when no command runs in its foreground.
signals=0
launched=
trap 'signals=$((signals + 1)); pass_on' USR1 TERM
pass_on() { [[ -z $launched ]] || kill -USR1 "$launched" 2>/dev/null || true; }

attend() { # attend COMMAND…: ends with its code, or with 75 where a signal forbids it; signals reach it meanwhile
  local code seen
  if ((signals)); then
    say "told to stop, so $1 is not started"
    return 75
  fi
  "$@" &
  launched=$!
  if ((signals)); then # between the two lines above
    pass_on
  fi
  while
    seen=$signals code=0
    wait "$launched" || code=$?
    ((signals != seen)) # a signal has ended the wait
  do :; done
  launched=
  return "$code"
}

on_all_ranks() { attend "${launch_command[@]}" "$@"; } # on_all_ranks COMMAND…: ends with the launcher's code
