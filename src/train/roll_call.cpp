#include "train/roll_call.hpp"

#include <fstream>
#include <iterator>
#include <system_error>

namespace hrm::train {
namespace {

namespace fs = std::filesystem;

constexpr const char* beginning = ".waiting-";
constexpr const char* word = "word";

}  // namespace

RollCall::RollCall(const fs::path& folder, const std::string& token, int rank, int ranks)
    : place_(folder / (beginning + token)), rank_(rank), ranks_(ranks) {}

bool RollCall::ask() const {
  std::error_code error;
  fs::create_directories(place_, error);
  return !error && is_open();
}

bool RollCall::is_open() const {
  std::error_code ignored;
  return fs::exists(place_, ignored);
}

void RollCall::answer(const Answer& mine) const {
  const fs::path file = place_ / std::to_string(rank_);
  const fs::path temporary = file.string() + ".tmp";
  std::ofstream(temporary) << (mine.waits ? "waits " : "busy ") << mine.text << '\n';
  std::error_code ignored;
  fs::rename(temporary, file, ignored);
}

std::vector<Answer> RollCall::answers() const {
  std::vector<Answer> all;
  for (int rank = 0; rank < ranks_; ++rank) {
    std::ifstream file(place_ / std::to_string(rank));
    std::string state;
    Answer answer;
    file >> state >> std::ws;
    std::getline(file, answer.text);
    answer.waits = state == "waits";
    all.push_back(answer);
  }
  return all;
}

void RollCall::close() const {
  const fs::path closed =
      place_.string() + "-closed-" + std::to_string(rank_);  // at once, for answers may be on the way
  std::error_code ignored;
  fs::rename(place_, closed, ignored);
  fs::remove_all(closed, ignored);
}

bool RollCall::claim_word() const {
  std::error_code error;
  return fs::create_directory(place_ / word, error) || error;
}

bool RollCall::word_is_taken() const {
  std::error_code ignored;
  return fs::exists(place_ / word, ignored);
}

void delete_roll_calls(const fs::path& folder, const std::string& own_token) {
  std::error_code ignored;
  std::vector<fs::path> old;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(beginning) && name != beginning + own_token) {
      old.push_back(entry.path());
    }
  }
  for (const fs::path& place : old) {
    fs::remove_all(place, ignored);
  }
}

}  // namespace hrm::train
