#include "io/metrics.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "expect_error.hpp"
#include "io/hdf5.hpp"
#include "io/inspect.hpp"
#include "io_samples.hpp"

namespace hrm::io {
namespace {

using Json = nlohmann::json;

class MetricsTest : public testing::Test {
 protected:
  void log_step(MetricsJournal& journal, std::int64_t step, double loss) {
    journal.append({{"record", "train"}, {"step", step}, {"loss", loss}});
  }
  ScratchFolder scratch_;
  std::filesystem::path h5_path_ = scratch_ / "metrics.h5";
};

TEST_F(MetricsTest, ColumnsHaveOneEntryPerRow) {
  MetricsJournal journal(h5_path_, {"run1", "[model]\n"});
  log_step(journal, 5, 3.5);
  journal.append({{"record", "train"}, {"step", 10}, {"loss", NAN}, {"state_digest", "00000000000000ff"}});

  journal.publish();

  const h5::File file = h5::File::open(h5_path_);
  for (const std::string& column : train_columns()) {
    EXPECT_EQ(file.open_dataset("/train/" + column).count(), 2) << column;
  }
  EXPECT_EQ(file.open_dataset("/train/step").read<std::int64_t>(), (std::vector<std::int64_t>{5, 10}));
  EXPECT_EQ(file.open_dataset("/train/loss").read<double>()[0], 3.5);
  EXPECT_TRUE(std::isnan(file.open_dataset("/train/loss").read<double>()[1]));
  EXPECT_TRUE(std::isnan(file.open_dataset("/train/accuracy").read<double>()[0]));
  EXPECT_EQ(file.open_dataset("/train/state_digest").read<std::uint64_t>(), (std::vector<std::uint64_t>{0, 255}));
  EXPECT_EQ(file.open_group("/run").string_attribute("run_id"), "run1");
}

TEST_F(MetricsTest, RowsWaitWhileTheDiskIsFull) {
  MetricsJournal journal(h5_path_, {"run1", ""});
  log_step(journal, 1, 3.5);
  const std::filesystem::path file = journal_path(h5_path_);
  {
    const FileSizeLimit limit(std::filesystem::file_size(file) + 10);  // room for a torn line
    for (const std::int64_t step : {2, 3}) {
      expect_error(ExitCode::io_error, "metrics.jsonl", [&] { log_step(journal, step, 3.5); });
      EXPECT_EQ(read_journal(file).size(), 1U);
    }
    expect_error(ExitCode::io_error, "metrics.jsonl", [&] { journal.publish(); });
  }

  log_step(journal, 4, 3.5);
  journal.publish();

  const std::vector<Json> rows = read_journal(file);
  ASSERT_EQ(rows.size(), 4U);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["step"], i + 1);
  }
  EXPECT_EQ(h5::File::open(h5_path_).open_dataset("/train/step").count(), 4);
}

TEST_F(MetricsTest, PublishedFileVerifies) {
  MetricsJournal journal(h5_path_, {"run1", ""});
  journal.publish();

  EXPECT_GT(verify_file(h5_path_), 30);
}

TEST_F(MetricsTest, CutRemovesLaterTrainAndEvalRowsOnly) {
  MetricsJournal journal(h5_path_, {"run1", ""});
  log_step(journal, 5, 1);
  log_step(journal, 10, 2);
  journal.append({{"record", "eval"}, {"name", "held-out"}, {"step", 10}, {"loss", 4}});
  journal.append({{"record", "event"}, {"time", "t"}, {"step", 10}, {"kind", "spike"}, {"text", "x"}});
  journal.append({{"record", "cut"}, {"step", 5}});
  log_step(journal, 10, 3);

  const std::vector<Json> rows = apply_cuts(read_journal(journal_path(h5_path_)));

  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0]["step"], 5);
  EXPECT_EQ(rows[1]["record"], "event");
  EXPECT_EQ(rows[2]["loss"], 3);
}

TEST_F(MetricsTest, TornLastLineIsDroppedForGood) {
  { MetricsJournal(h5_path_, {"run1", ""}).append({{"record", "train"}, {"step", 1}}); }
  const std::filesystem::path path = journal_path(h5_path_);
  overwrite(path, file_bytes(path) + "{\"record\":\"tr");
  EXPECT_EQ(read_journal(path).size(), 1U);

  MetricsJournal journal(h5_path_, {"run1", ""});
  log_step(journal, 2, 1);

  EXPECT_EQ(read_journal(path).back()["step"], 2);
}

TEST_F(MetricsTest, BrokenLineInTheMiddleIsNamed) {
  overwrite(journal_path(h5_path_), "{\"record\":\"train\"}\nnonsense\n{}\n");

  expect_error(ExitCode::bad_data, "metrics.jsonl:2", [&] { read_journal(journal_path(h5_path_)); });
}

TEST_F(MetricsTest, WhatAPowerFailureLeftIsPassedOver) {
  using namespace std::string_literals;
  overwrite(journal_path(h5_path_),
            "{\"record\":\"train\",\"step\":1}\n\n{\"rec\0\0\0\n{\"record\":\"train\",\"step\":2}\nnonsense\n"s);
  expect_error(ExitCode::bad_data, "metrics.jsonl:5", [&] { read_journal(journal_path(h5_path_)); });
  overwrite(journal_path(h5_path_),
            "{\"record\":\"train\",\"step\":1}\n\n{\"rec\0\0\0\n{\"record\":\"train\",\"step\":2}\n"s);

  EXPECT_EQ(read_journal(journal_path(h5_path_)).size(), 2U);
}

TEST_F(MetricsTest, WhatWasNotMeasuredIsNull) {
  MetricsJournal journal(h5_path_, {"run1", ""});

  log_step(journal, 1, 2.5);

  const nlohmann::json row = read_journal(journal_path(h5_path_)).front();
  for (const std::string& column : train_columns()) {
    ASSERT_TRUE(row.contains(column)) << column;
  }
  EXPECT_EQ(row["loss"], 2.5);
  EXPECT_TRUE(row["state_digest"].is_null());
}

TEST_F(MetricsTest, LaterJobRecordUpdatesTheRow) {
  MetricsJournal journal(h5_path_, {"run1", ""});
  journal.append({{"record", "job"}, {"job_id", "77"}, {"restart", 0}, {"start", "a"}, {"first_step", 1}});
  journal.append({{"record", "job"}, {"restart", 0}, {"start", "a"}, {"end", "b"}, {"last_step", 9}});
  journal.append({{"record", "job"}, {"job_id", "78"}, {"restart", 1}, {"start", "c"}});

  journal.publish();

  const h5::File file = h5::File::open(h5_path_);
  EXPECT_EQ(file.open_dataset("/jobs/job_id").read_strings(), (std::vector<std::string>{"77", "78"}));
  EXPECT_EQ(file.open_dataset("/jobs/end").read_strings(), (std::vector<std::string>{"b", ""}));
  EXPECT_EQ(file.open_dataset("/jobs/last_step").read<std::int64_t>()[0], 9);
}

TEST_F(MetricsTest, StartsOfOneSecondAreTwoJobs) {
  MetricsJournal journal(h5_path_, {"run1", ""});
  journal.append({{"record", "job"}, {"start_id", "x"}, {"restart", 0}, {"start", "a"}, {"first_step", 1}});
  journal.append({{"record", "job"}, {"start_id", "y"}, {"restart", 0}, {"start", "a"}, {"first_step", 4}});
  journal.append({{"record", "job"}, {"start_id", "x"}, {"end", "b"}});

  journal.publish();

  const h5::File file = h5::File::open(h5_path_);
  EXPECT_EQ(file.open_dataset("/jobs/first_step").read<std::int64_t>(), (std::vector<std::int64_t>{1, 4}));
  EXPECT_EQ(file.open_dataset("/jobs/end").read_strings(), (std::vector<std::string>{"b", ""}));
}

TEST_F(MetricsTest, ReopenedJournalKeepsItsRows) {
  {
    MetricsJournal journal(h5_path_, {"run1", ""});
    log_step(journal, 5, 1);
    log_step(journal, 10, 2);
  }
  MetricsJournal journal(h5_path_, {"run1", ""});
  journal.append({{"record", "cut"}, {"step", 5}});
  log_step(journal, 15, 3);

  journal.publish();

  const h5::File file = h5::File::open(h5_path_);
  EXPECT_EQ(file.open_dataset("/train/step").read<std::int64_t>(), (std::vector<std::int64_t>{5, 15}));
}

TEST_F(MetricsTest, EvaluationsHaveTheirOwnColumns) {
  MetricsJournal journal(h5_path_, {"run1", ""});
  journal.append({{"record", "eval"}, {"name", "held-out"}, {"step", 10}, {"loss/wordnet", 4.5}});

  journal.publish();

  const h5::File file = h5::File::open(h5_path_);
  EXPECT_EQ(file.open_dataset("/eval/held-out/loss_wordnet").read<double>()[0], 4.5);
  EXPECT_EQ(file.open_dataset("/eval/held-out/step").read<std::int64_t>()[0], 10);
}

}  // namespace
}  // namespace hrm::io
