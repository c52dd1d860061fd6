# Every outside library, found once, each behind one target name.
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
set(MPI_CXX_SKIP_MPICXX ON)  # the C API only; the C++ bindings are gone in MPI 3 and Open MPI 5
find_package(MPI REQUIRED COMPONENTS C CXX)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(Boost 1.71 REQUIRED COMPONENTS program_options)
find_package(PkgConfig REQUIRED)

# HDF5: without the preference FindHDF5 takes a serial build that lies beside the parallel one.
set(HDF5_PREFER_PARALLEL TRUE)
find_package(HDF5 1.10 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR
    "HDF5 ${HDF5_VERSION} at ${HDF5_INCLUDE_DIRS} is a serial build; hrm writes shards and checkpoints through MPI-IO. "
    "Install the parallel build (Debian/Ubuntu: libhdf5-openmpi-dev; Spack: hdf5+mpi) or point HDF5_ROOT at it.")
endif()
add_library(hrm_hdf5 INTERFACE)
target_include_directories(hrm_hdf5 SYSTEM INTERFACE ${HDF5_INCLUDE_DIRS})
target_compile_definitions(hrm_hdf5 INTERFACE ${HDF5_DEFINITIONS})
target_link_libraries(hrm_hdf5 INTERFACE ${HDF5_LIBRARIES} MPI::MPI_CXX)

# oneDNN by header and library: Debian's CMake package of it asks for OpenCL headers that nothing here needs.
find_path(DNNL_INCLUDE_DIR dnnl.hpp PATH_SUFFIXES oneapi/dnnl REQUIRED)
find_library(DNNL_LIBRARY dnnl REQUIRED)
add_library(hrm_dnnl INTERFACE)
target_include_directories(hrm_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
target_link_libraries(hrm_dnnl INTERFACE ${DNNL_LIBRARY})

pkg_check_modules(HWY REQUIRED IMPORTED_TARGET libhwy)
add_library(hrm_hwy INTERFACE)
target_link_libraries(hrm_hwy INTERFACE PkgConfig::HWY)

pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
add_library(hrm_pcre2 INTERFACE)
target_link_libraries(hrm_pcre2 INTERFACE PkgConfig::PCRE2)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
add_library(hrm_utf8proc INTERFACE)
target_link_libraries(hrm_utf8proc INTERFACE PkgConfig::UTF8PROC)
pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
add_library(hrm_zstd INTERFACE)
target_link_libraries(hrm_zstd INTERFACE PkgConfig::ZSTD)
find_package(ZLIB REQUIRED)
add_library(hrm_zlib INTERFACE)
target_link_libraries(hrm_zlib INTERFACE ZLIB::ZLIB)
