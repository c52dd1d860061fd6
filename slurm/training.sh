# shellcheck shell=bash
# What the training scripts share: one start of `hrm train --resume auto`, and its verdict. They source it.
#
# Further options, given in the environment:
#   HRM_MAX_REQUEUES  a job requeues itself while it has been restarted fewer times than this; default 50
#   HRM_STAGE_DIR     a folder on each node's own disk: the shards are copied there first and removed after the run

# shellcheck source=common.sh
source "${BASH_SOURCE[0]%/*}/common.sh"

max_requeues=${HRM_MAX_REQUEUES:-50}
stage_folder=${HRM_STAGE_DIR:-}
unset HRM_MAX_REQUEUES HRM_STAGE_DIR
[[ $max_requeues =~ ^[0-9]+$ ]] || fail 64 "HRM_MAX_REQUEUES=$max_requeues: give a whole number"
job=${SLURM_JOB_ID:-}
[[ -n $job ]] || fail 64 "this is a batch script: submit it with sbatch"

# One value of `hrm train --print-config`: lines KEY = VALUE  # ORIGIN below [SECTION]; a VALUE with # or ; is quoted.
configured() { # configured SECTION KEY
  sed -n "/^\[$1\]\$/,/^\$/s/^$2 = //p" <<<"$configuration" |
    sed -e '/^"/!s/  # .*//' -e '/^"/{s/^"\(\([^"\\]\|\\.\)*\)".*/\1/;s/\\\(.\)/\1/g;}'
}

status_value() { # status_value KEY: of status.json, one key a line; empty for null
  [[ -f $run_folder/status.json ]] || return 0
  sed -n "s/^ *\"$1\": \(.*[^,]\),\{0,1\}\$/\1/p" "$run_folder/status.json" |
    sed -e 's/^null$//' -e 's/^"\(.*\)"$/\1/'
}

status_stamp() { stat --format='%i %y' -- "$run_folder/status.json" 2>/dev/null || true; }

# The checkpoints there are, one a line, without step 0: each start that is stopped before a step may write that anew. A
# file has such a name only once it is complete; a run that went back to an older one writes some names a second time, so
# inode and time tell the files apart.
checkpoints() { stat --format='%n %i %y' -- "$run_folder"/step-*[1-9]*.h5 2>/dev/null || true; }

checkpoint_added() { # checkpoint_added CHECKPOINTS_BEFORE
  local file
  while IFS= read -r file; do
    [[ -z $file || $'\n'$1$'\n' == *$'\n'"$file"$'\n'* ]] || return 0
  done < <(checkpoints)
  return 1
}

# When this job ends: the program saves and stops in time.
announce_end() {
  local end
  if end=$(squeue --noheader --jobs="$job" --format=%e); then
    export HRM_RUN_TIME_LIMIT=${end%%$'\n'*}
  else
    say "warning: squeue does not tell when this job ends"
  fi
}

on_each_node=(srun --mpi=none --nodes="${SLURM_JOB_NUM_NODES:-1}" --ntasks="${SLURM_JOB_NUM_NODES:-1}"
  --ntasks-per-node=1)

unstage() { # also what a copy that was broken off left; before a requeue, for after it SLURM starts nothing more
  # shellcheck disable=SC2016 # expanded by the shell on the node
  "${on_each_node[@]}" bash -c 'rm -rf -- "$1" "$1".*' unstage "$staged" || say "warning: $staged is left on a node"
}

# Under a name of this start alone: what a killed one left half copied is not taken for whole. The copy gets its name
# when it is complete; where nodes share the disk the first one's is kept. The shared folder still serves where there is
# no room.
stage_in() {
  local shards
  shards=$(configured data path)
  staged=$stage_folder/hrm-$job-${SLURM_RESTART_COUNT:-0}
  # shellcheck disable=SC2016 # expanded by the shell on the node
  if attend "${on_each_node[@]}" bash -c 'part=$2.$SLURM_NODEID && mkdir -p -- "$part" && cp -r -- "$1/." "$part/" &&
      { mv -T -- "$part" "$2" 2>/dev/null || { rm -rf -- "$part" && [[ -d $2 ]]; }; }' stage "$shards" "$staged"; then
    arguments+=(--set "data.path=$staged")
  elif ((signals == 0)); then
    say "warning: the shards could not be copied to $staged on every node; reading $shards"
  fi
}

# Trains once. Sets `verdict`: finished; again, where another start goes on from a newer checkpoint; failed. `exit_code`
# is the run's, `message` says why.
train_once() { # train_once ARGUMENTS OF HRM TRAIN…
  local configuration before stamp state code=0
  local -a arguments=("$@")
  configuration=$("$program" train "$@" --print-config) || exit # the program has said why
  run_folder=$(configured checkpoint dir)
  announce_end
  if [[ -n $stage_folder ]]; then
    stage_in
  fi
  before=$(checkpoints)
  stamp=$(status_stamp)
  on_all_ranks "$program" train --resume auto "${arguments[@]}" || code=$?
  if [[ -n $stage_folder ]]; then
    unstage
  fi

  state=none # a start that was refused leaves the last verdict alone
  if [[ $(status_stamp) != "$stamp" && $(status_value job_id) == "$job" ]]; then
    state=$(status_value state)
  fi
  judge "$state" "$code" "$before"
}

judge() { # judge STATE LAUNCHER_CODE CHECKPOINTS_BEFORE; STATE none: this start wrote no status
  local reason
  reason=$(status_value reason)
  verdict=again
  exit_code=$(status_value exit_code)
  case $1 in
    finished) verdict=finished message="finished" ;;
    stopped | lost_peer) message="$1: $reason" ;;
    starting | running | saving)
      exit_code=$(($2 == 0 ? 69 : $2))
      message="the run was killed while $1 (the launcher ended with $2)"
      case $2 in
        64 | 65 | 66 | 70 | 73 | 74 | 76 | 78) verdict=failed ;; # one rank's own verdict, which a start would repeat
      esac
      ;;
    failed) verdict=failed message="failed: $reason" ;;
    none)
      exit_code=$2
      message="the start ended with $2 before the program wrote a status"
      case $2 in
        0) verdict=finished ;; # --help, --dry-run
        75) preempted || verdict=failed ;; # stopped while it was set up, or before
        13[0-9] | 14[0-9]) ;;              # by a signal
        *) verdict=failed ;;
      esac
      ;;
    *) verdict=failed exit_code=70 message="$run_folder/status.json holds the unknown state '$1'" ;;
  esac
  if [[ $verdict == again ]] && ! checkpoint_added "$3" && ! preempted; then
    verdict=failed
    message+="; no step was saved, so another start would not get further"
  fi
}

preempted() { [[ $(scontrol show job "$job") == *PreemptTime=[0-9]* ]]; }

# Hosts that the run suspects (status.json, separated by commas) are not asked for again.
exclude_suspects() {
  local suspects excluded
  suspects=$(status_value suspect_hosts)
  [[ -n $suspects ]] || return 0
  excluded=$(scontrol show job "$job" | sed -n 's/.* ExcNodeList=\([^ ]*\).*/\1/p')
  [[ $excluded == "(null)" ]] || suspects+=,$excluded
  scontrol update JobId="$job" ExcNodeList="$suspects" || say "warning: could not exclude $suspects"
}

requeue_or_end() {
  local state restarts=${SLURM_RESTART_COUNT:-0}
  case $verdict in
    finished) exit "$exit_code" ;;
    failed) fail "$exit_code" "$message" ;;
  esac
  if ((restarts >= max_requeues)); then
    fail "$exit_code" "$message; restarted $restarts times already (HRM_MAX_REQUEUES=$max_requeues)"
  fi
  state=$(squeue --noheader --jobs="$job" --format=%T) || state=unknown
  if [[ $state != RUNNING ]]; then # cancelled, or requeued by someone else: not to be decided again
    fail "$exit_code" "$message; the job is $state, so it does not requeue itself"
  fi
  say "$message; requeueing job $job"
  trap '' TERM # a requeue sends it to this script and to the commands below, which inherit that it is ignored
  scontrol requeue "$job" || fail "$exit_code" "the requeue was denied; submit again to go on"
  exclude_suspects
  exit 0
}
