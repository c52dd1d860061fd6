# Program version and git revision, refreshed at build time so that a rebuilt checkout never lies.
add_custom_target(hrm_revision ALL
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${PROJECT_BINARY_DIR}/generated/hrm_revision.hpp
          -DVERSION=${PROJECT_VERSION} -DBUILD_TYPE=${CMAKE_BUILD_TYPE} -P ${PROJECT_SOURCE_DIR}/cmake/WriteRevision.cmake
  BYPRODUCTS ${PROJECT_BINARY_DIR}/generated/hrm_revision.hpp
  COMMENT "")
