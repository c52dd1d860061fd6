# The CUDA back end compiled for the CPU (simt.hpp says what that shows): libraries, programs and tests.
include(CheckCXXSourceCompiles)

set(HRM_SIMT_FOLDER ${CMAKE_CURRENT_LIST_DIR})
file(GLOB HRM_SIMT_SHIM CONFIGURE_DEPENDS ${HRM_SIMT_FOLDER}/*.cpp)
list(FILTER HRM_SIMT_SHIM EXCLUDE REGEX "/(test_|gemm)[^/]*$")

# Source compiled with this sees the fake runtime in place of the toolkit, which is not needed.
add_library(hrm_simt_flags INTERFACE)
target_compile_definitions(hrm_simt_flags INTERFACE HRM_SIMT HRM_HAVE_CUDA)
target_include_directories(hrm_simt_flags INTERFACE ${HRM_SIMT_FOLDER}/toolkit ${PROJECT_SOURCE_DIR}
                           ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/tests)

# Variants of every library: none, and the sanitizers that the compiler has. A build that is sanitized as a whole has no
# others.
set(HRM_SIMT_VARIANTS plain)
set(HRM_SIMT_FLAGS_plain "")
set(HRM_SIMT_FLAGS_asan -fsanitize=address,undefined -fno-sanitize-recover=undefined)
set(HRM_SIMT_FLAGS_tsan -fsanitize=thread)
foreach(variant asan tsan)
  string(REPLACE ";" " " CMAKE_REQUIRED_FLAGS "${HRM_SIMT_FLAGS_${variant}}")
  check_cxx_source_compiles("int main() {}" HRM_LINKS_${variant})
  if(HRM_LINKS_${variant} AND NOT HRM_SANITIZE)
    list(APPEND HRM_SIMT_VARIANTS ${variant})
  endif()
endforeach()
unset(CMAKE_REQUIRED_FLAGS)

# hrm_simt_library(NAME SOURCES source… [LINKS library…]): the shim and the sources, a .cu as C++, in static libraries
# NAME, NAME_asan and NAME_tsan.
function(hrm_simt_library name)
  cmake_parse_arguments(SIMT "" "" "SOURCES;LINKS" ${ARGN})
  set(kernels ${SIMT_SOURCES})
  list(FILTER kernels INCLUDE REGEX "\\.cu$")
  # Kernels read any type as 16-byte words, which nvcc allows.
  set_source_files_properties(${kernels} PROPERTIES LANGUAGE CXX
                              COMPILE_OPTIONS "-x;c++;-fno-strict-aliasing;-Wno-unknown-pragmas")
  foreach(variant ${HRM_SIMT_VARIANTS})
    string(REPLACE _plain "" library ${name}_${variant})
    add_library(${library} STATIC ${HRM_SIMT_SHIM} ${SIMT_SOURCES})
    target_link_libraries(${library} PUBLIC hrm_simt_flags ${SIMT_LINKS} PRIVATE hrm_flags)
    if(NOT variant STREQUAL plain)
      target_compile_options(${library} PRIVATE -O1 -g -fno-omit-frame-pointer ${HRM_SIMT_FLAGS_${variant}})
      target_link_options(${library} PUBLIC ${HRM_SIMT_FLAGS_${variant}})
    endif()
  endforeach()
endfunction()

# hrm_simt_rooms(TARGET LIBRARY): links every room but kernels, whose place LIBRARY (hrm_kernels_simt…) takes.
function(hrm_simt_rooms target library)
  get_property(rooms GLOBAL PROPERTY HRM_ROOMS)
  set(archives $<TARGET_FILE:${library}>)
  set(links "")
  foreach(room ${rooms})
    get_target_property(type hrm_${room} TYPE)
    if(type STREQUAL STATIC_LIBRARY AND NOT room STREQUAL kernels)
      list(APPEND archives $<TARGET_FILE:hrm_${room}>)
      add_dependencies(${target} hrm_${room})
    endif()
    get_target_property(uses hrm_${room} INTERFACE_LINK_LIBRARIES)
    list(APPEND links ${uses})
  endforeach()
  list(TRANSFORM rooms PREPEND hrm_)
  list(REMOVE_ITEM links ${rooms})
  list(REMOVE_DUPLICATES links)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  # The library is named twice: here for its options, in the group for the rooms' references.
  target_link_libraries(${target} PRIVATE ${library} -Wl,--start-group ${archives} -Wl,--end-group ${links} hrm_flags)
endfunction()

# hrm_simt_test(NAME LIBRARY library SOURCES source… [LEAVE_OUT_plain filter] [LEAVE_OUT_asan filter]
# [LEAVE_OUT_tsan filter]): GoogleTest programs NAME, NAME_asan and NAME_tsan over the library's variants. The tests of
# the first are registered one by one as simt.*; as a whole, it runs in random order with eager copies, and each of the
# others runs once. Sources are compiled without sanitizers: kernels and shim are what these look at.
function(hrm_simt_test name)
  cmake_parse_arguments(SIMT "" "LIBRARY;LEAVE_OUT_plain;LEAVE_OUT_asan;LEAVE_OUT_tsan" "SOURCES;LINKS" ${ARGN})
  add_library(${name}_objects OBJECT ${SIMT_SOURCES})
  target_link_libraries(${name}_objects PRIVATE hrm_simt_flags ${SIMT_LINKS} GTest::gtest hrm_flags)
  foreach(variant ${HRM_SIMT_VARIANTS})
    string(REPLACE _plain "" program ${name}_${variant})
    string(REPLACE _plain "" library ${SIMT_LIBRARY}_${variant})
    add_executable(${program} $<TARGET_OBJECTS:${name}_objects>)
    target_link_libraries(${program} PRIVATE ${library} ${SIMT_LINKS} GTest::gtest GTest::gtest_main)
    if(NOT variant STREQUAL plain)
      hrm_simt_run(${name}_${variant} ${program} "${SIMT_LEAVE_OUT_${variant}}"
                   # OpenMP's own threads are not known to ThreadSanitizer.
                   OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1)
    endif()
  endforeach()
  gtest_discover_tests(${name} TEST_PREFIX simt. TEST_FILTER "-${SIMT_LEAVE_OUT_plain}"
                       PROPERTIES LABELS fast TIMEOUT 120 DISCOVERY_TIMEOUT 60)
  hrm_simt_run(${name}_in_random_order ${name} "${SIMT_LEAVE_OUT_plain}" HRM_SIMT_SEED=5 HRM_SIMT_ASYNC=eager)
endfunction()

function(hrm_simt_run test program leave_out)
  add_test(NAME simt.${test} COMMAND ${program} --gtest_brief=1 "--gtest_filter=-${leave_out}")
  set_tests_properties(simt.${test} PROPERTIES LABELS full TIMEOUT 600 ENVIRONMENT "${ARGN}")
endfunction()
