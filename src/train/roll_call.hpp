#pragma once
// Who is still there, asked through files: ranks that wait for each other in MPI have no other way to talk.
#include <filesystem>
#include <string>
#include <vector>

namespace hrm::train {

/// What a rank says when it is asked; an empty text: no word from it.
struct Answer {
  bool waits = false;  ///< for longer than it may: it wants to know, too
  std::string text;    ///< one line
};

/// One question at a time in FOLDER/.waiting-TOKEN/, which exists while it is open. Answers are replaced by rename. No
/// member throws: what cannot be read was not said.
class RollCall {
 public:
  /// `token` is this start's own, so what an earlier one left is no question.
  RollCall(const std::filesystem::path& folder, const std::string& token, int rank, int ranks);

  /// Opens the question, if it is not open already. False where the folder is out of reach.
  bool ask() const;
  bool is_open() const;
  void answer(const Answer& mine) const;
  /// [ranks]
  std::vector<Answer> answers() const;
  /// There was no need.
  void close() const;

  /// True for one rank, which speaks for all, or where the folder is out of reach.
  bool claim_word() const;
  bool word_is_taken() const;

 private:
  std::filesystem::path place_;
  int rank_;
  int ranks_;
};

/// Deletes the questions that earlier starts left in `folder`. Only the holder of its lock may.
void delete_roll_calls(const std::filesystem::path& folder, const std::string& own_token);

}  // namespace hrm::train
