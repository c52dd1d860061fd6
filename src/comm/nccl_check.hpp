#pragma once
// One line per NCCL or CUDA call: a failing call becomes an InputError(lost_peer) with the library's own words. Codes
// cross as int, so that this header needs neither library.
#include <string>

namespace hrm::comm {

/// Throws InputError(lost_peer) naming `tried` unless `code` is ncclSuccess or ncclInProgress: a call on a non-blocking
/// communicator may go on in the background, and NcclGroup::state() says when it is through.
void nccl_check(int code, const std::string& tried);

/// Throws InputError(lost_peer) naming `call` unless `code` is cudaSuccess.
void cuda_check(int code, const char* call);

/// Throws InputError(lost_peer): `tried` is not done after `seconds`.
[[noreturn]] void nccl_expired(const std::string& tried, double seconds);

}  // namespace hrm::comm
