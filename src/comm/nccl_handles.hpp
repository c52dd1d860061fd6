#pragma once
// What has to be given back to CUDA and NCCL. The structs are the libraries' own opaque ones (cudaStream_t,
// cudaEvent_t and ncclComm_t point to them), so that this header needs neither library.
#include <memory>
#include <string>

struct CUstream_st;
struct CUevent_st;
struct ncclComm;

namespace hrm::comm {

struct DestroyStream {
  void operator()(CUstream_st* stream) const noexcept;
};
struct DestroyEvent {
  void operator()(CUevent_st* event) const noexcept;
};
using CudaStream = std::unique_ptr<CUstream_st, DestroyStream>;
using CudaEvent = std::unique_ptr<CUevent_st, DestroyEvent>;

/// On the current device, of the highest priority: a transfer that can start does so before waiting kernels. It does
/// not wait for the default stream.
CudaStream make_stream();
/// Without a time stamp, which would make it slower.
CudaEvent make_event();

/// NCCL's communicator of one rank and the current device, non-blocking.
class NcclGroup {
 public:
  /// Bytes that rank 0 makes and every rank of a new group needs.
  static std::string unique_id();

  /// Collective over the group; InputError(lost_peer) if it does not come about within `deadline` seconds.
  NcclGroup(int rank, int ranks, const std::string& id, double deadline);
  /// Collective, except while an exception unwinds: then, and if the others do not come or the group has failed, it is
  /// aborted. Waits at most `deadline` for the others, and ten seconds for the end of an abort.
  ~NcclGroup();
  NcclGroup(const NcclGroup&) = delete;
  NcclGroup& operator=(const NcclGroup&) = delete;

  ncclComm* get() const { return handle_; }
  /// ncclInProgress while something goes on in the background: until then no call may use the group nor the streams
  /// that it was given. Then ncclSuccess, or what has failed.
  int state() const;

 private:
  explicit NcclGroup(double deadline);
  bool finalized() const noexcept;
  void abort() const noexcept;

  ncclComm* handle_ = nullptr;
  double deadline_;
  int exceptions_at_start_;
};

}  // namespace hrm::comm
