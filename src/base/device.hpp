#pragma once
// Where an operation runs. Every kernel takes a Stream first; on the host it is an empty token.

namespace hrm {

enum class DeviceType { cpu, cuda };

/// Order of execution on one device. `native` is a cudaStream_t on CUDA, null on the host.
struct Stream {
  DeviceType device = DeviceType::cpu;
  void* native = nullptr;
};

/// Compute type of activations and matrix products; masters, gradient sums and moments are float32 always.
enum class Precision { fp32, bf16 };

}  // namespace hrm
