#include <algorithm>
#include <tuple>

#include "kernels/attention_parts.hpp"

namespace hrm::kernels {

void attention_tiles(const SequenceLayout& layout, std::vector<AttentionTile>& tiles) {
  tiles.clear();
  for (std::int64_t s = 0; s < attention::sequence_count(layout); ++s) {
    const attention::Sequence seq = attention::sequence(layout, s);
    for (std::int64_t begin = 0; begin < seq.length; begin += attention_tile) {
      tiles.push_back({static_cast<std::int32_t>(seq.first), static_cast<std::int32_t>(seq.length),
                       static_cast<std::int32_t>(seq.prefix), static_cast<std::int32_t>(begin)});
    }
  }
  const auto place = [](const AttentionTile& tile) {
    const attention::Sequence seq{tile.first, tile.length, tile.prefix};
    return std::tuple(-seq.visible(tile.begin + attention_tile - 1), tile.first, tile.begin);
  };
  std::sort(tiles.begin(), tiles.end(),
            [&](const AttentionTile& a, const AttentionTile& b) { return place(a) < place(b); });
}

}  // namespace hrm::kernels
