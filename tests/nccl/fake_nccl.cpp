#include "fake_nccl.hpp"

#include <mpi.h>

#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "fake_cuda.hpp"

struct ncclComm {
  MPI_Comm mpi = MPI_COMM_NULL;
  int polls_left = 0;              ///< until what goes on in the background is through
  CUstream_st* issuing = nullptr;  ///< stream that a group goes to then
  std::function<bool()> group;
  bool for_ever = false;
};

namespace {

using Post = std::function<MPI_Request()>;

struct Call {
  ncclComm* comm;
  cudaStream_t stream;
  Post post;
};
int depth = 0;
ncclResult_t failed_call = ncclSuccess;
std::vector<Call> calls;

ncclResult_t add(ncclComm* comm, cudaStream_t stream, Post post) {
  if (comm->polls_left > 0) {
    fake::wrong_use("a communicator was used while it worked in the background");
    return ncclInvalidUsage;
  }
  if (depth == 0) {
    fake::wrong_use("a call outside a group could wait for its partner");
    return ncclInvalidUsage;
  }
  failed_call = fake::switches.call_error;
  calls.push_back({comm, stream, std::move(post)});
  return failed_call;
}

/// All calls of a group as one piece of work on a stream; MPI matches messages between two ranks in order, as NCCL
/// does.
std::function<bool()> work_of(std::vector<Call> group) {
  return [group = std::move(group), requests = std::vector<MPI_Request>()]() mutable {
    if (fake::switches.work_stalls) {
      return false;
    }
    if (requests.empty()) {
      for (const Call& call : group) {
        requests.push_back(call.post());
      }
    }
    int done = 0;
    MPI_Testall(static_cast<int>(requests.size()), requests.data(), &done, MPI_STATUSES_IGNORE);
    return done != 0;
  };
}

ncclResult_t in_background(ncclComm* comm) {
  comm->polls_left = fake::switches.background_polls;
  return comm->polls_left > 0 ? ncclInProgress : ncclSuccess;
}

void issue(ncclComm* comm) {
  if (comm->issuing != nullptr) {
    --comm->issuing->background;
    comm->issuing->enter(std::move(comm->group));
    comm->issuing = nullptr;
  }
}

constexpr int meeting_tag = 4711;

/// The ranks meet at the maker of the id, who tells all of them who they are.
MPI_Comm meet(int ranks, int maker, int rank) {
  int me = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &me);
  std::vector<int> members(static_cast<std::size_t>(ranks));
  if (rank == 0) {
    members[0] = me;
    for (int r = 1; r < ranks; ++r) {
      std::array<int, 2> who{};
      MPI_Recv(who.data(), 2, MPI_INT, MPI_ANY_SOURCE, meeting_tag, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
      members[static_cast<std::size_t>(who[0])] = who[1];
    }
    for (int r = 1; r < ranks; ++r) {
      MPI_Send(members.data(), ranks, MPI_INT, members[static_cast<std::size_t>(r)], meeting_tag + 1, MPI_COMM_WORLD);
    }
  } else {
    const std::array<int, 2> who{rank, me};
    MPI_Send(who.data(), 2, MPI_INT, maker, meeting_tag, MPI_COMM_WORLD);
    MPI_Recv(members.data(), ranks, MPI_INT, maker, meeting_tag + 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  MPI_Group world = MPI_GROUP_NULL;
  MPI_Group group = MPI_GROUP_NULL;
  MPI_Comm made = MPI_COMM_NULL;
  MPI_Comm_group(MPI_COMM_WORLD, &world);
  MPI_Group_incl(world, ranks, members.data(), &group);
  MPI_Comm_create_group(MPI_COMM_WORLD, group, meeting_tag, &made);
  MPI_Group_free(&group);
  MPI_Group_free(&world);
  return made;
}

}  // namespace

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 0, sizeof *id);
  int me = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &me);
  std::memcpy(id->internal, &me, sizeof me);
  return fake::switches.id_error;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank, ncclConfig_t* config) {
  if (config->blocking != 0) {
    fake::wrong_use("a communicator that blocks can hang for ever");
  }
  *comm = new ncclComm;
  (*comm)->for_ever = fake::switches.init_stalls;
  if ((*comm)->for_ever) {
    return ncclInProgress;
  }
  int maker = 0;
  std::memcpy(&maker, id.internal, sizeof maker);
  (*comm)->mpi = meet(ranks, maker, rank);
  return in_background(*comm);
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  *state = fake::switches.background_error;
  if (*state != ncclSuccess) {
    return ncclSuccess;
  }
  if (comm->for_ever || (comm->polls_left > 0 && --comm->polls_left > 0)) {
    *state = ncclInProgress;
    return ncclSuccess;
  }
  issue(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  ++fake::counts.finalized;
  return in_background(comm);
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  ++fake::counts.destroyed;
  MPI_Comm_free(&comm->mpi);
  delete comm;
  return ncclSuccess;
}

/// Called by a thread that may not use MPI: its communicator stays.
ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (fake::switches.abort_hangs) {
    std::this_thread::sleep_for(std::chrono::hours(1));  // longer than the process lives
  }
  delete comm;
  ++fake::counts.aborted;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t code) {
  static const std::map<ncclResult_t, const char*> names{{ncclSystemError, "the fake's system error"},
                                                         {ncclRemoteError, "the fake's remote error"}};
  const auto found = names.find(code);
  return found == names.end() ? "another error of the fake" : found->second;
}

const char* ncclGetLastError(ncclComm_t) {
  return "the fake's last words";
}

ncclResult_t ncclGroupStart() {
  ++depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (--depth > 0) {
    return ncclSuccess;
  }
  std::vector<Call> group;
  group.swap(calls);
  const ncclResult_t failed = std::exchange(failed_call, ncclSuccess);
  if (failed != ncclSuccess || fake::switches.group_error != ncclSuccess || group.empty()) {
    return failed != ncclSuccess ? failed : fake::switches.group_error;
  }
  ncclComm* comm = group.front().comm;
  comm->issuing = &fake::stream_of(group.front().stream);
  ++comm->issuing->background;
  comm->group = work_of(std::move(group));
  const ncclResult_t state = in_background(comm);
  if (state == ncclSuccess) {
    issue(comm);
  }
  return state;
}

ncclResult_t ncclSend(const void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t s) {
  return add(comm, s, [=] {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(data, static_cast<int>(count), type == ncclInt8 ? MPI_INT8_T : MPI_DATATYPE_NULL, peer, 0, comm->mpi,
              &request);
    return request;
  });
}

ncclResult_t ncclRecv(void* data, size_t count, ncclDataType_t type, int peer, ncclComm_t comm, cudaStream_t s) {
  return add(comm, s, [=] {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Irecv(data, static_cast<int>(count), type == ncclInt8 ? MPI_INT8_T : MPI_DATATYPE_NULL, peer, 0, comm->mpi,
              &request);
    return request;
  });
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                           cudaStream_t s) {
  if (from != to || type != ncclInt8) {
    return ncclInvalidArgument;
  }
  return add(comm, s, [=] {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ibcast(to, static_cast<int>(count), MPI_INT8_T, root, comm->mpi, &request);
    return request;
  });
}

ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t operation, int root,
                        ncclComm_t comm, cudaStream_t s) {
  if (type != ncclFloat || operation != ncclSum) {
    return ncclInvalidArgument;
  }
  return add(comm, s, [=] {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ireduce(from, to, static_cast<int>(count), MPI_FLOAT, MPI_SUM, root, comm->mpi, &request);
    return request;
  });
}

ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t operation,
                               ncclComm_t comm, cudaStream_t s) {
  if (type != ncclFloat || operation != ncclSum) {
    return ncclInvalidArgument;
  }
  return add(comm, s, [=] {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Ireduce_scatter_block(from, to, static_cast<int>(count), MPI_FLOAT, MPI_SUM, comm->mpi, &request);
    return request;
  });
}
