#pragma once
// `hrm validate`: golden files against this program (golden C, D).
#include <string>

#include "validate/layout.hpp"
#include "validate/report.hpp"

namespace hrm::validate {

/// Recognises the kind of `path` by its content and compares every quantity in it. Collective: every rank of the layout
/// reads the file. InputError: no_input; bad_data for a file of no known kind, with missing parts or with parts that do
/// not fit together; bad_config where the layout cannot run it.
void validate_file(const std::string& path, const Layout& layout, Report& report);

}  // namespace hrm::validate
