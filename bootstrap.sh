#!/usr/bin/env bash
# Two commands set everything up on Debian or Ubuntu:
#   ./bootstrap.sh demo                 install, build, train a small HRM on 2 MPI ranks, evaluate it
#   ./bootstrap.sh test [--with-slurm]  install, build, run the test suite
# BOOTSTRAP_CMAKE_ARGS holds further arguments for CMake, separated by blanks.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

base_packages=(git ca-certificates cmake ninja-build g++ pkg-config
  openmpi-bin libopenmpi-dev libhdf5-openmpi-dev hdf5-tools
  libboost-program-options-dev libdnnl-dev libhwy-dev nlohmann-json3-dev
  libpcre2-dev libutf8proc-dev libfmt-dev libzstd-dev zlib1g-dev
  python3)
demo_packages=(wordnet-base)
test_packages=(libgtest-dev python3-h5py python3-numpy)
# Pinned; a release without them runs all other tests.
check_packages=(clang-format-14 clang-tidy-14 shellcheck clang-14 libclang-rt-14-dev libomp-14-dev)
slurm_packages=(slurm-wlm munge)

say() { printf '\n== %s\n' "$*"; }

die() {
  printf 'bootstrap: error: %s\n' "$*" >&2
  exit 1
}

usage() {
  sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 64
}

installed() { dpkg-query --show --showformat='${Status}' "$1" 2>/dev/null | grep -q '^install ok installed$'; }

as_root=()

need_root() { # need_root COMMAND: what to run by hand instead
  if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || die "run as root, or: $1"
    as_root=(sudo)
  fi
}

# Asks the network for nothing when every package is there.
install_packages() {
  command -v dpkg-query >/dev/null ||
    die "this is not Debian or Ubuntu; install the packages of INSTALL.md by hand and run cmake --preset release"
  local missing=() package
  for package in "$@"; do
    installed "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    say "all needed packages are installed"
    return
  fi
  say "installing: ${missing[*]}"
  need_root "apt-get install ${missing[*]}"
  "${as_root[@]}" apt-get -o DPkg::Lock::Timeout=900 update -q
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get -o DPkg::Lock::Timeout=900 install -y -q --no-install-recommends "${missing[@]}"
}

# The daemons of SLURM packages that are not installed yet stay off, now and when the machine starts again: the tests
# start their own. (systemctl unmask takes it back.)
keep_services_off() {
  local units=() daemon
  for daemon in munge slurmctld slurmd; do # packages and units of the same names
    installed "$daemon" || units+=("$daemon.service")
  done
  if ((${#units[@]} > 0)) && command -v systemctl >/dev/null; then
    need_root "systemctl mask ${units[*]}"
    "${as_root[@]}" systemctl mask "${units[@]}"
  fi
}

# Those of the packages that are installed or that this release offers.
available() {
  local package
  for package in "$@"; do
    if installed "$package" || apt-cache show "$package" >/dev/null 2>&1; then
      printf '%s\n' "$package"
    else
      printf 'bootstrap: %s is not offered here: the checks that need it are left out\n' "$package" >&2
    fi
  done
}

# Open MPI's guards against what is normal here: root in a container, fewer cores than ranks, no ptrace.
mpi_environment() {
  if [[ $(id -u) == 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
  export OMPI_MCA_btl_vader_single_copy_mechanism=none
}

build() { # build on|off (tests) [arguments of cmake --build]
  local tests=$1 started=$SECONDS more=()
  shift
  read -r -a more <<<"${BOOTSTRAP_CMAKE_ARGS:-}"
  if [[ -n ${HRM_TEST_DATA:-} ]]; then
    more+=("-DHRM_TEST_DATA=$HRM_TEST_DATA")
  fi
  say "building (log: build/bootstrap.log)"
  mkdir -p build
  if ! { cmake --preset release -DHRM_BUILD_TESTS="$tests" "${more[@]}" &&
    cmake --build --preset release "$@"; } >build/bootstrap.log 2>&1; then
    tail -n 40 build/bootstrap.log >&2
    die "the build failed; the whole log is build/bootstrap.log"
  fi
  say "built build/hrm in $((SECONDS - started)) s"
}

run_tests() { # run_tests yes|no (with SLURM)
  local labels=(-LE slurm) require_slurm=OFF
  install_packages "${base_packages[@]}" "${test_packages[@]}"
  if [[ $1 == yes ]]; then
    labels=()
    require_slurm=ON
    keep_services_off
    install_packages "${slurm_packages[@]}"
  fi
  local checks
  mapfile -t checks < <(available "${check_packages[@]}")
  install_packages "${checks[@]}"
  BOOTSTRAP_CMAKE_ARGS+=" -DHRM_REQUIRE_SLURM=$require_slurm"
  build ON
  mpi_environment
  say "testing"
  ctest --test-dir build --output-on-failure --no-tests=error -j "$(nproc)" \
    --output-junit ctest.xml --output-log build/ctest.log "${labels[@]}"
}

case "${1:-} ${2:-}" in
  "demo ")
    install_packages "${base_packages[@]}" "${demo_packages[@]}"
    build OFF
    mpi_environment
    exec validation/demo.sh
    ;;
  "test ") run_tests no ;;
  "test --with-slurm") run_tests yes ;;
  *) usage ;;
esac
