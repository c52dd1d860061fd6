# CUDA runtime and NCCL. They are looked for even where the program leaves them out (HRM_CUDA=OFF): the tests compile the
# NCCL communicator wherever its headers are. Never link the driver library (CUDA::cuda_driver): the program would not
# start on a node without a driver.
find_package(CUDAToolkit QUIET)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ENV NCCL_ROOT ${CUDAToolkit_INCLUDE_DIRS} PATH_SUFFIXES include)
find_library(NCCL_LIBRARY nccl HINTS ENV NCCL_ROOT ${CUDAToolkit_LIBRARY_DIR} PATH_SUFFIXES lib lib64)
set(NCCL_VERSION 0)
if(NCCL_INCLUDE_DIR)
  file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h numbers REGEX "^#define NCCL_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^;0-9]+" "" numbers "${numbers}")
  string(REPLACE ";" "." NCCL_VERSION "${numbers}")
endif()

# 2.14 brought communicators that do not block.
if(TARGET CUDA::cudart AND NCCL_LIBRARY AND NCCL_VERSION VERSION_GREATER_EQUAL 2.14)
  set(HRM_NCCL_FOUND TRUE)
  add_library(hrm_nccl_headers INTERFACE)
  target_include_directories(hrm_nccl_headers SYSTEM INTERFACE ${NCCL_INCLUDE_DIR} ${CUDAToolkit_INCLUDE_DIRS})
  add_library(hrm_nccl INTERFACE)
  target_link_libraries(hrm_nccl INTERFACE hrm_nccl_headers ${NCCL_LIBRARY} CUDA::cudart)
elseif(HRM_CUDA AND NOT HRM_CUDA STREQUAL AUTO)
  message(FATAL_ERROR
    "HRM_CUDA=${HRM_CUDA} needs the CUDA toolkit (nvcc on PATH, or CUDAToolkit_ROOT) and NCCL 2.14 or newer (NCCL_ROOT). "
    "Found: CUDA ${CUDAToolkit_VERSION}, NCCL ${NCCL_VERSION} (${NCCL_INCLUDE_DIR}, ${NCCL_LIBRARY}).")
endif()
if(HRM_NCCL_FOUND AND HRM_CUDA)
  set(HRM_USE_NCCL TRUE)
else()
  set(HRM_USE_NCCL FALSE)
endif()

# Adds src/comm/nccl_*.cpp to room comm where the program uses NCCL. Either way hrm_comm_nccl is room comm with these
# sources and, where the program does without, without the libraries: whoever links it chooses them.
function(hrm_nccl_sources)
  if(NOT HRM_NCCL_FOUND)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/comm/nccl_*.cpp)
  if(HRM_USE_NCCL)
    target_sources(hrm_comm PRIVATE ${sources})
    target_compile_definitions(hrm_comm PRIVATE HRM_HAVE_NCCL)
    target_link_libraries(hrm_comm PRIVATE hrm_nccl)
    add_library(hrm_comm_nccl INTERFACE)
    target_link_libraries(hrm_comm_nccl INTERFACE hrm_comm)
  else()
    add_library(hrm_comm_nccl STATIC EXCLUDE_FROM_ALL ${sources})
    target_link_libraries(hrm_comm_nccl PUBLIC hrm_comm PRIVATE hrm_nccl_headers hrm_flags)
  endif()
endfunction()
