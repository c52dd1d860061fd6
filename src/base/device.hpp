#pragma once
// Where operations run and what they run on: memory, order of execution, copies. Every kernel takes a Stream first; on
// the host it is an empty token and everything is done when a call returns.
#include <cstddef>
#include <string>

namespace hrm {

enum class DeviceType { cpu, cuda };

/// Order of execution on one device. `native` is a cudaStream_t on CUDA, null on the host.
struct Stream {
  DeviceType device = DeviceType::cpu;
  void* native = nullptr;
};

/// A point in the work of a stream; `native` is a cudaEvent_t on CUDA, null on the host. Owned by its device.
struct Event {
  void* native = nullptr;
};

/// Compute type of activations and matrix products; masters, gradient sums and moments are float32 always.
enum class Precision { fp32, bf16 };

/// Where buffers come from. Memory is aligned to 64 bytes at least and zeroed.
class Memory {
 public:
  virtual ~Memory() = default;
  /// Null when there is not enough. bytes > 0.
  virtual void* allocate(std::size_t bytes) = 0;
  virtual void release(void* data, std::size_t bytes) noexcept = 0;
};

/// Ordinary memory of the host.
Memory& host_memory();

/// What one rank computes on. Errors of the device are InternalError with its own words.
class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceType type() const = 0;
  /// "NVIDIA H100 80GB HBM3 (sm_90)", "CPU".
  virtual std::string name() const = 0;

  /// What kernels read and write.
  virtual Memory& memory() = 0;
  /// Host memory that copies reach without a detour, so that they need not be waited for: page-locked on CUDA.
  virtual Memory& staging() = 0;

  /// Where the network computes.
  virtual Stream compute() = 0;
  /// Where gradients and weights are exchanged, beside compute().
  virtual Stream exchange() = 0;

  /// Puts a copy between any two memories on the stream.
  virtual void copy(Stream stream, void* to, const void* from, std::size_t bytes) = 0;
  /// Returns when everything on the stream is done.
  virtual void wait(Stream stream) = 0;

  /// Events live as long as the device. `record` marks what the stream holds now, `hold` lets what the stream gets from
  /// now on begin behind the mark, `reached` tells whether it has been passed; a mark that was never made is reached.
  virtual Event make_event() = 0;
  virtual void record(Event event, Stream stream) = 0;
  virtual void hold(Stream stream, Event event) = 0;
  virtual bool reached(Event event) = 0;
  /// Device seconds between two reached marks.
  virtual double seconds(Event from, Event to) = 0;

  /// Names what is put on streams between the two calls, for profilers (NVTX); ranges nest.
  virtual void begin_range(const char* name) = 0;
  virtual void end_range() = 0;

  bool is_host() const { return type() == DeviceType::cpu; }
};

/// A named range of the work put on a device while it lives.
class DeviceRange {
 public:
  DeviceRange(Device& device, const char* name) : device_(device) { device_.begin_range(name); }
  ~DeviceRange() { device_.end_range(); }
  DeviceRange(const DeviceRange&) = delete;
  DeviceRange& operator=(const DeviceRange&) = delete;

 private:
  Device& device_;
};

/// The processor: memory of the host, one stream, calls that are done when they return.
Device& host_device();

}  // namespace hrm
