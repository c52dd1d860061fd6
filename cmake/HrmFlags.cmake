# Warnings, sanitizers and floating-point rules as one INTERFACE target that every room links.
add_library(hrm_flags INTERFACE)
target_compile_options(hrm_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion)
# Contraction is decided by the source (explicit MulAdd), never by the compiler: the same line must
# give the same bits in a vector body and in its tail.
target_compile_options(hrm_flags INTERFACE -ffp-contract=off)
if(HRM_WARNINGS_AS_ERRORS)
  target_compile_options(hrm_flags INTERFACE -Werror)
endif()
if(HRM_SANITIZE)
  # Without recovery: what UBSan finds ends the test instead of passing by as a line of output.
  target_compile_options(hrm_flags INTERFACE -fsanitize=${HRM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(hrm_flags INTERFACE -fsanitize=${HRM_SANITIZE})
endif()
if(HRM_FUZZ)
  target_compile_options(hrm_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
