// Writes down when every kernel, copy and fill of a program ran on the GPU. A library for CUDA_INJECTION64_PATH: the
// program is not changed, and it takes a driver and CUPTI only, where no profiler is installed.
//   g++ -O2 -shared -fPIC -I$CUDA/include -o libkernel_trace.so kernel_trace.cpp -L$CUDA/lib64 -lcupti
//   CUDA_INJECTION64_PATH=$PWD/libkernel_trace.so KERNEL_TRACE=trace.csv hrm bench step …
// One line each: begin [ns], duration [ns], stream, name.
#include <cupti.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <vector>

namespace {

constexpr std::size_t buffer_bytes = std::size_t{8} << 20;
constexpr std::size_t buffer_alignment = 8;

struct Span {
  std::uint64_t begin;
  std::uint64_t end;
  std::uint32_t stream;
  std::string name;
};

std::mutex mutex;
std::vector<Span> spans;

void CUPTIAPI give_buffer(std::uint8_t** buffer, std::size_t* bytes, std::size_t* most_records) {
  *buffer = static_cast<std::uint8_t*>(std::aligned_alloc(buffer_alignment, buffer_bytes));
  *bytes = buffer_bytes;
  *most_records = 0;
}

template <class Record>
void keep(const CUpti_Activity* record, std::string name) {
  const auto* activity = reinterpret_cast<const Record*>(record);
  spans.push_back({activity->start, activity->end, activity->streamId, std::move(name)});
}

void CUPTIAPI take_buffer(CUcontext, std::uint32_t, std::uint8_t* buffer, std::size_t, std::size_t filled) {
  const std::lock_guard guard(mutex);
  CUpti_Activity* record = nullptr;
  while (cuptiActivityGetNextRecord(buffer, filled, &record) == CUPTI_SUCCESS) {
    if (record->kind == CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL) {
      const char* name = reinterpret_cast<const CUpti_ActivityKernel9*>(record)->name;
      keep<CUpti_ActivityKernel9>(record, name != nullptr ? name : "kernel");
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMCPY) {
      keep<CUpti_ActivityMemcpy5>(record, "copy");
    } else if (record->kind == CUPTI_ACTIVITY_KIND_MEMSET) {
      keep<CUpti_ActivityMemset4>(record, "fill");
    }
  }
  std::free(buffer);
}

void finish() {
  cuptiActivityFlushAll(1);
  const char* path = std::getenv("KERNEL_TRACE");
  std::FILE* file = std::fopen(path != nullptr ? path : "kernel_trace.csv", "w");
  if (file == nullptr) {
    std::perror("kernel_trace");
    return;
  }
  const std::lock_guard guard(mutex);
  for (const Span& span : spans) {
    std::fprintf(file, "%llu,%llu,%u,%s\n", static_cast<unsigned long long>(span.begin),
                 static_cast<unsigned long long>(span.end - span.begin), span.stream, span.name.c_str());
  }
  std::fclose(file);
}

}  // namespace

extern "C" int InitializeInjection() {
  cuptiActivityRegisterCallbacks(give_buffer, take_buffer);
  for (const CUpti_ActivityKind kind :
       {CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, CUPTI_ACTIVITY_KIND_MEMCPY, CUPTI_ACTIVITY_KIND_MEMSET}) {
    cuptiActivityEnable(kind);
  }
  std::atexit(finish);
  return 1;
}
