#include "simt/kernel_names.hpp"

#include <cxxabi.h>
#include <elf.h>
#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <unordered_map>
#include <vector>

namespace hrm::simt {
namespace {

/// Where this program was loaded, minus where its file says.
std::uintptr_t load_offset() {
  std::uintptr_t offset = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* result) {
        *static_cast<std::uintptr_t*>(result) = info->dlpi_addr;
        return 1;  // the first is the program
      },
      &offset);
  return offset;
}

template <class T>
T read_at(const std::vector<char>& file, std::size_t at) {
  T value{};
  if (at + sizeof(T) <= file.size()) {
    std::memcpy(&value, file.data() + at, sizeof(T));
  }
  return value;
}

/// Mangled names of this program's functions by address: kernels are static, so the dynamic linker does not know them.
std::unordered_map<std::uintptr_t, std::string> read_symbols() {
  std::ifstream stream("/proc/self/exe", std::ios::binary);
  const std::vector<char> file{std::istreambuf_iterator<char>(stream), {}};
  const auto header = read_at<ElfW(Ehdr)>(file, 0);
  const std::uintptr_t offset = load_offset();
  std::unordered_map<std::uintptr_t, std::string> names;
  for (std::size_t i = 0; i < header.e_shnum; ++i) {
    const auto table = read_at<ElfW(Shdr)>(file, header.e_shoff + i * header.e_shentsize);
    if (table.sh_type != SHT_SYMTAB) {
      continue;
    }
    const auto strings = read_at<ElfW(Shdr)>(file, header.e_shoff + table.sh_link * header.e_shentsize);
    for (std::size_t at = 0; at < table.sh_size; at += sizeof(ElfW(Sym))) {
      const auto symbol = read_at<ElfW(Sym)>(file, table.sh_offset + at);
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_value != 0) {
        names[symbol.st_value + offset] = file.data() + strings.sh_offset + symbol.st_name;
      }
    }
  }
  return names;
}

/// Without return type, namespaces and parameters: "void a::(anonymous namespace)::f<int>(float*)" is "f<int>".
std::string shortened(const std::string& name) {
  std::size_t start = 0;
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const bool anonymous = name.compare(i, 21, "(anonymous namespace)") == 0;
    if (anonymous) {
      i += 20;
      continue;
    }
    if (depth == 0 && name[i] == '(') {
      return name.substr(start, i - start);
    }
    depth += name[i] == '<' ? 1 : name[i] == '>' ? -1 : 0;
    if (depth == 0 && (name[i] == ':' || name[i] == ' ')) {
      start = i + 1;
    }
  }
  return name.substr(start);
}

std::unordered_map<const void*, std::int64_t> launches;
const void* last = nullptr;

struct WriteAtEnd {
  ~WriteAtEnd() {
    if (const char* prefix = std::getenv("HRM_SIMT_LAUNCHES")) {
      std::ofstream file(fmt::format("{}.{}", prefix, getpid()));
      for (const auto& [name, count] : launches_by_kernel()) {
        file << count << ' ' << name << '\n';
      }
    }
  }
};

}  // namespace

std::string kernel_name(const void* kernel) {
  static const std::unordered_map<std::uintptr_t, std::string> symbols = read_symbols();
  const auto found = symbols.find(reinterpret_cast<std::uintptr_t>(kernel));
  if (found == symbols.end()) {
    return fmt::format("kernel at {}", kernel);
  }
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> whole(
      abi::__cxa_demangle(found->second.c_str(), nullptr, nullptr, &status), &std::free);
  return shortened(status == 0 ? whole.get() : found->second);
}

void count_launch(const void* kernel) {
  static const WriteAtEnd at_end;
  ++launches[kernel];
  last = kernel;
}

const void* last_launched() {
  return last;
}

std::map<std::string, std::int64_t> launches_by_kernel() {
  std::map<std::string, std::int64_t> named;
  for (const auto& [kernel, count] : launches) {
    named[kernel_name(kernel)] += count;
  }
  return named;
}

void clear_launches_by_kernel() {
  launches.clear();
}

}  // namespace hrm::simt
