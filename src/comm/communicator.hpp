#pragma once
// What the program needs of a group of ranks. All spans are host memory, but for those that NCCL moves (exchanges and
// reduce-scatter sums: nccl_communicator.hpp). Sums of scalars that other ranks left zero are exact, so an all-reduce
// of disjoint contributions is a gather whose result does not depend on the number of ranks.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/device.hpp"

namespace hrm::comm {

/// One point-to-point transfer of an exchange. Either side may be this rank itself (a local copy).
struct Send {
  int to;
  std::span<const std::byte> data;
};
struct Receive {
  int from;
  std::span<std::byte> data;
};

/// Group of ranks. Every member function except rank() and size() is collective. Errors of the library become
/// InputError(lost_peer) with its words.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;

  virtual void barrier() = 0;
  /// Element-wise sum over ranks, in place.
  virtual void sum(std::span<double> values) = 0;
  virtual void sum(std::span<std::uint64_t> values) = 0;
  /// Element-wise maximum over ranks, in place.
  virtual void max(std::span<std::int64_t> values) = 0;
  virtual void broadcast(std::span<std::byte> data, int root) = 0;
  /// All ranks' byte strings in rank order, on every rank.
  virtual std::vector<std::string> gather(const std::string& mine) = 0;

  /// Starts all transfers of this rank; messages between one pair of ranks match in order. Any size: split into
  /// chunks inside. One exchange at a time. `poll` drives progress between operations and says whether nothing is under
  /// way any more; `finish_exchange` waits for that. Spans stay alive and unchanged until then.
  ///
  /// `finish_exchange_before(stream)` is for whoever goes on with that stream alone: what is put on it from now on
  /// comes behind the exchange, and the next one may start. Where device memory travels the host does not wait for
  /// that; before it waits for such a stream it calls finish_exchange(), which sees a lost peer.
  virtual void start_exchange(std::span<const Send> sends, std::span<const Receive> receives) = 0;
  virtual bool poll() = 0;
  virtual void finish_exchange() = 0;
  virtual void finish_exchange_before(Stream) { finish_exchange(); }

  /// Starts the sum over ranks of `data` in whatever order the library likes: part [first[rank], first[rank + 1]) of it
  /// arrives in `mine`. first has size() + 1 entries. Ends as an exchange does.
  virtual void start_reduce_scatter(std::span<const float> data, std::span<const std::int64_t> first,
                                    std::span<float> mine) = 0;

  /// The ranks that give the same `color`, in the order of this group; collective.
  virtual std::unique_ptr<Communicator> split(int color) = 0;
  /// The ranks of this group that share this node, in rank order; collective. Null for a serial group: use itself.
  virtual std::unique_ptr<Communicator> node_group() = 0;

  /// Opaque pointer to the MPI communicator (MPI_Comm*), null where there is none; for parallel HDF5 and MPI-IO only.
  virtual void* native() = 0;
};

/// A group of one.
std::unique_ptr<Communicator> serial_communicator();

/// Rank `rank` of `size` without the others, to plan what it would hold. Any communication is an InternalError.
std::unique_ptr<Communicator> pretend_communicator(int rank, int size);

/// Broadcasts a text of any length from `root`.
std::string broadcast_text(Communicator& group, std::string text, int root = 0);

/// So that one rank's bad file does not hang the others: every rank calls this with its failure or null; if any rank
/// failed, all throw the InputError of the lowest failing rank, whose message names the rank.
void agree(Communicator& group, std::exception_ptr failure);

/// Runs `work` and agrees on its outcome.
template <class Work>
void together(Communicator& group, Work&& work) {
  std::exception_ptr failure;
  try {
    work();
  } catch (...) {
    failure = std::current_exception();
  }
  agree(group, failure);
}

}  // namespace hrm::comm
