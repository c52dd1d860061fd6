#pragma once
// metrics.jsonl, the append-only journal of a run, and metrics.h5, which is rebuilt from it. One rank (the lock's
// holder) uses this.
//
// One JSON object a line; the key "record" tells what it is, all other keys are columns:
//   {"record":"train","step":…,"loss":…,…}       columns of train_columns(); one that is not there is not measured
//   {"record":"eval","name":NAME,"step":…,…}     any columns, numbers or strings
//   {"record":"event","time":…,"step":…,"kind":…,"text":…}
//   {"record":"job","job_id":…,"restart":…,"hosts":…,…,"start":…,"start_id":…}   a later record of the same "start_id"
//                                                (where there is none, the same "start" and "restart") updates the row
//   {"record":"cut","step":S}                    earlier train and eval rows of steps beyond S do not count
// Reals that are not finite are null; 64-bit digests are hex strings or null.
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/timer.hpp"
#include "io/disk.hpp"

namespace hrm::io {

/// What /run of metrics.h5 says.
struct MetricsHeader {
  std::string run_id;
  std::string config_text;
};

/// Names of the /train columns of metrics.h5, in order.
const std::vector<std::string>& train_columns();

class MetricsJournal {
 public:
  /// Opens `h5_path` with extension .jsonl for appending, made if missing; a torn last line is dropped, what a
  /// power failure left (blank, or with zeros) passed over, any other broken line 65. Memory: the rows that count, some
  /// 7 KiB each.
  MetricsJournal(const std::filesystem::path& h5_path, MetricsHeader header);

  /// Appends one row as one line, in one write. A row that cannot be written (74) goes before the next one.
  void append(nlohmann::json row);
  /// Makes the rows so far durable.
  void sync();
  /// Syncs, rebuilds metrics.h5 and publishes it by rename.
  void publish();
  /// publish(), if the last one is a minute or more ago.
  void publish_if_due();

 private:
  void write_out();

  std::filesystem::path h5_path_;
  MetricsHeader header_;
  RawFile journal_;
  std::string unwritten_;             ///< lines that the disk had no room for
  std::vector<nlohmann::json> rows_;  ///< of the journal, cuts obeyed
  Timer since_publish_;
};

/// "metrics.h5" -> "metrics.jsonl".
std::filesystem::path journal_path(const std::filesystem::path& h5_path);

/// All rows of a journal as written, cut records included. Torn and lost lines are left out; any other broken one
/// is 65.
std::vector<nlohmann::json> read_journal(const std::filesystem::path& path);

/// Rows that count: cut records obeyed and removed.
std::vector<nlohmann::json> apply_cuts(const std::vector<nlohmann::json>& rows);

/// Writes metrics.h5 from the rows that count (temporary name, then rename).
void build_metrics(const std::filesystem::path& h5_path, const std::vector<nlohmann::json>& rows,
                   const MetricsHeader& header);

}  // namespace hrm::io
