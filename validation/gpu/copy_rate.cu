// Rates of copies of 1 GiB in a GPU's memory (read and written bytes), from pinned host memory and back, as one JSON
// object [bytes/s].
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

namespace {

constexpr std::size_t bytes = std::size_t{1} << 30;
constexpr int repetitions = 20;

void check(cudaError_t code, const char* what) {
  if (code != cudaSuccess) {
    std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(code));
    std::exit(1);
  }
}

/// Bytes per second of the fastest of several copies.
double rate(void* to, const void* from, cudaEvent_t begin, cudaEvent_t end) {
  double best = 0;
  for (int i = 0; i < repetitions; ++i) {
    check(cudaEventRecord(begin), "cudaEventRecord");
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault), "cudaMemcpyAsync");
    check(cudaEventRecord(end), "cudaEventRecord");
    check(cudaEventSynchronize(end), "cudaEventSynchronize");
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    const double now = static_cast<double>(bytes) / (static_cast<double>(milliseconds) * 1e-3);
    best = now > best ? now : best;
  }
  return best;
}

}  // namespace

int main() {
  void* one = nullptr;
  void* other = nullptr;
  void* host = nullptr;
  cudaEvent_t begin{};
  cudaEvent_t end{};
  check(cudaMalloc(&one, bytes), "cudaMalloc");
  check(cudaMalloc(&other, bytes), "cudaMalloc");
  check(cudaMallocHost(&host, bytes), "cudaMallocHost");
  check(cudaEventCreate(&begin), "cudaEventCreate");
  check(cudaEventCreate(&end), "cudaEventCreate");
  const double inside = 2 * rate(one, other, begin, end);
  const double down = rate(one, host, begin, end);
  const double up = rate(host, one, begin, end);
  std::printf("{\"in_memory\": %.6g, \"to_gpu\": %.6g, \"to_host\": %.6g}\n", inside, down, up);
  return 0;
}
