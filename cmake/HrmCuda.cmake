# CUDA: the compiler for kernels/*.cu, runtime, cuBLASLt and NCCL. HRM_CUDA=AUTO takes them where they are found. Never
# link the driver library (CUDA::cuda_driver): the program would not start on a node without a driver.
set(HRM_USE_CUDA FALSE)
if(HRM_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  find_package(CUDAToolkit QUIET)
  if(CMAKE_CUDA_COMPILER AND TARGET CUDA::cublasLt AND CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.4)
    set(HRM_USE_CUDA TRUE)
  elseif(NOT HRM_CUDA STREQUAL AUTO)
    message(FATAL_ERROR
      "HRM_CUDA=${HRM_CUDA} needs the CUDA toolkit 12.4 or newer: nvcc on PATH (or CUDACXX) and cuBLASLt. "
      "Found: CUDA ${CUDAToolkit_VERSION}, compiler ${CMAKE_CUDA_COMPILER}.")
  endif()
else()
  find_package(CUDAToolkit QUIET)  # the tests compile the NCCL communicator wherever its headers are
endif()

if(HRM_USE_CUDA)
  # Compute capabilities of A100 and H100; the last one as PTX too, which later devices compile for themselves.
  if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90)
  endif()
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake before 3.26 does not know it of nvcc 12 and newer
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
endif()

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
elseif(HRM_CUDA STREQUAL ON)
  message(FATAL_ERROR
    "HRM_CUDA=ON needs NCCL 2.14 or newer (NCCL_ROOT). Found: NCCL ${NCCL_VERSION} (${NCCL_INCLUDE_DIR}, ${NCCL_LIBRARY}).")
endif()
if(HRM_NCCL_FOUND AND HRM_USE_CUDA)
  set(HRM_USE_NCCL TRUE)
else()
  set(HRM_USE_NCCL FALSE)
endif()

# Adds the CUDA back end to room kernels: kernels/*.cu, and the libraries that its .cpp files call.
function(hrm_cuda_kernels)
  if(NOT HRM_USE_CUDA)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/kernels/*.cu)
  add_library(hrm_cuda_flags INTERFACE)
  # Functions that are constexpr are for kernels too; 554: conversions of Matrix to itself are never called.
  target_compile_options(hrm_cuda_flags INTERFACE --expt-relaxed-constexpr -diag-suppress=554)
  if(HRM_WARNINGS_AS_ERRORS)
    target_compile_options(hrm_cuda_flags INTERFACE -Werror=all-warnings)
  endif()
  # An object library: its sources have other flags than the room's.
  add_library(hrm_cuda_kernels OBJECT ${sources})
  target_include_directories(hrm_cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/src)
  target_link_libraries(hrm_cuda_kernels PRIVATE hrm_cuda_flags)
  target_compile_definitions(hrm_cuda_kernels PRIVATE HRM_HAVE_CUDA)
  target_sources(hrm_kernels PRIVATE $<TARGET_OBJECTS:hrm_cuda_kernels>)
  target_compile_definitions(hrm_kernels PRIVATE HRM_HAVE_CUDA)
  target_link_libraries(hrm_kernels PRIVATE CUDA::cudart CUDA::cublasLt)
endfunction()

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
