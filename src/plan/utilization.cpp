#include "plan/utilization.hpp"

namespace hrm::plan {
namespace {

struct Peak {
  const char* name;
  double bf16;
  double fp32;
};

/// Data sheets, without sparsity. The first whose name occurs in the device's.
constexpr Peak peaks[] = {{"H100 PCIe", 756e12, 51.2e12},
                          {"H100", 989.4e12, 66.9e12},
                          {"H200", 989.4e12, 66.9e12},
                          {"A100", 312e12, 19.5e12}};

}  // namespace

double peak_flops(const std::string& name, Precision precision) {
  for (const Peak& peak : peaks) {
    if (name.find(peak.name) != std::string::npos) {
      return precision == Precision::bf16 ? peak.bf16 : peak.fp32;
    }
  }
  return 0;
}

PackStats stats_of(const data::Batch& batch, const data::SampleTable& table, std::int64_t slots, bool prefixlm) {
  PackStats stats{batch.packs() * slots, batch.supervised_total, 0};
  for (const std::uint32_t sample : batch.samples) {
    const std::int64_t prefix = table.prefix(sample);
    stats.visible_pairs += visible_pairs(prefix, table.length(sample) - prefix, prefixlm);
  }
  return stats;
}

Utilization::Utilization(const config::RunConfig& config, Precision precision, const data::SampleTable& table,
                         const std::string& device, int ranks)
    : model_(config.model),
      slots_(config.train.pack_tokens),
      table_(table),
      peak_(ranks *
            (config.device.peak_tflops > 0 ? config.device.peak_tflops * 1e12 : peak_flops(device, precision))) {}

std::optional<double> Utilization::of(const data::Batch& batch, model::Horizon horizon, double seconds) const {
  if (peak_ == 0) {
    return std::nullopt;
  }
  const PackStats stats = stats_of(batch, table_, slots_, model_.attention == "prefixlm");
  return cost(model_, horizon, stats).total_flops() / (seconds * peak_);
}

}  // namespace hrm::plan
