#!/usr/bin/env bash
# A private SLURM of two nodes on this machine, for tests: own munge, 127.0.0.1 only, nothing outside FOLDER.
#
#   cluster.sh up FOLDER [PORT]   controller on PORT (17000), nodes on the next two
#   cluster.sh status FOLDER      sinfo; 0 where both nodes can take work
#   cluster.sh down FOLDER        ends its jobs and daemons; FOLDER stays, with its logs
#
# FOLDER must not hold a blank (slurm.conf cannot quote). Commands find the cluster by SLURM_CONF=FOLDER/slurm.conf.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

die() {
  printf 'cluster.sh: error: %s\n' "$*" >&2
  exit 1
}

usage() {
  sed -n '4,6s/^# *//p' "${BASH_SOURCE[0]}" >&2
  exit 64
}

nodes=(node1 node2)

# A namespace of its own gives a node its own host name and shared memory: MPI takes ranks of equal host names for
# neighbours and would have them meet in one /dev/shm.
separable() { unshare --uts --mount true 2>/dev/null; }

write_configuration() { # write_configuration PORT
  local host
  host=$(hostname -s)
  cat >"$folder/slurm.conf" <<EOF
ClusterName=private
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$1
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/run/munge.sock
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$folder/state
# One per node: the PMIx plugin names its files by job and step alone.
SlurmdSpoolDir=$folder/spool.%n
TmpFS=$folder/tmp.%n
SlurmctldPidFile=$folder/run/slurmctld.pid
SlurmdPidFile=$folder/run/%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/%n.log
JobCompType=jobcomp/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0,batch_sched_delay=0
# The nodes claim more cores than the machine has.
SlurmdParameters=config_overrides
SlurmctldParameters=idle_on_node_suspend,preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
CompleteWait=0
MinJobAge=600
ReturnToService=2
PropagateResourceLimitsExcept=ALL
NodeName=node[1-2] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$(($1 + 1))-$(($1 + 2))] CPUs=4 RealMemory=1024
PartitionName=low  Nodes=ALL Default=YES MaxTime=60 DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE GraceTime=10
PartitionName=abrupt Nodes=ALL MaxTime=60 DefaultTime=10 PriorityTier=1 PreemptMode=REQUEUE GraceTime=0
PartitionName=high Nodes=ALL MaxTime=60 DefaultTime=10 PriorityTier=10 PreemptMode=OFF
EOF
}

start_munge() {
  (umask 077 && mkdir "$folder/munge" && head -c 128 /dev/urandom >"$folder/munge/key")
  munged --key-file="$folder/munge/key" --socket="$folder/run/munge.sock" --pid-file="$folder/run/munged.pid" \
    --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
}

start_node() { # start_node NAME
  mkdir "$folder/spool.$1" "$folder/tmp.$1"
  if separable; then
    # shellcheck disable=SC2016 # the inner shell expands them
    unshare --uts --mount bash -c 'hostname "$1" && mount --bind "$2" /etc/hosts && mount -t tmpfs tmpfs /dev/shm &&
      ulimit -c 0 && exec slurmd -N "$1"' node "$1" "$folder/hosts"
  else
    (ulimit -c 0 && exec slurmd -N "$1")
  fi
}

ready() {
  local up
  up=$(sinfo --noheader --Node --partition=low --format=%T 2>/dev/null | grep -cE 'idle|mixed|alloc') || true
  [[ $up == "${#nodes[@]}" ]]
}

up() { # up PORT
  local program node
  for program in slurmctld slurmd munged sinfo; do
    command -v "$program" >/dev/null || die "$program is not installed (Debian: slurm-wlm munge)"
  done
  [[ $folder != *[[:space:]]* ]] || die "$folder: the path must not hold a blank"
  [[ ! -e $folder/slurm.conf ]] || die "$folder: holds a cluster already"
  mkdir -p "$folder" "$folder/run" "$folder/log" "$folder/state"
  chmod 755 "$folder" "$folder/run" # munged refuses a socket that others could replace
  write_configuration "$1"
  printf '127.0.0.1 localhost %s node1 node2\n' "$(hostname -s)" >"$folder/hosts"
  start_munge
  slurmctld -c
  for node in "${nodes[@]}"; do
    start_node "$node"
  done
  for _ in {1..100}; do
    if ready; then
      return
    fi
    sleep 0.1
  done
  die "the nodes are not ready after 10 s; see $folder/log"
}

# Gone, or dead and only not yet collected by its parent.
gone() { [[ ! -e /proc/$1 || $(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null) =~ ^(Z|)$ ]]; }

end_daemon() { # end_daemon NAME
  local pid
  pid=$(cat "$folder/run/$1.pid" 2>/dev/null) || return 0
  # The number may have gone to another process since.
  [[ $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) =~ ^(slurmctld|slurmd|munged)\  ]] || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in {1..100}; do
    if gone "$pid"; then
      return
    fi
    sleep 0.05
  done
  kill -KILL "$pid" 2>/dev/null || true
}

down() {
  local daemon
  if scontrol ping >/dev/null 2>&1; then
    timeout 10 scancel --full --signal=KILL --user="$(id -un)" --state=RUNNING 2>/dev/null || true
    timeout 10 scancel --user="$(id -un)" || true
    for _ in {1..100}; do
      [[ -n $(timeout 5 squeue --noheader) ]] || break
      sleep 0.1
    done
  fi
  for daemon in "${nodes[@]}" slurmctld munged; do
    end_daemon "$daemon"
  done
}

[[ $# -ge 2 && $# -le 3 ]] || usage
mkdir -p "$2"
folder=$(cd "$2" && pwd)
export SLURM_CONF=$folder/slurm.conf

case $1 in
  up) up "${3:-17000}" ;;
  down) down ;;
  status) sinfo --Node --long && ready ;;
  *) usage ;;
esac
