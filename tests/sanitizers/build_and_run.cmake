# Configures PRESET in BINARY, builds TARGETS and runs the tests whose names match RUN.
separate_arguments(TARGETS)
function(run)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY ${SOURCE} COMMAND_ERROR_IS_FATAL ANY)
endfunction()

# -O1: half the time to compile, and as good for finding faults.
run(${CMAKE_COMMAND} --preset ${PRESET} -B ${BINARY} -DHRM_TEST_DATA=${HRM_TEST_DATA} -DHRM_FILES_ONLY=ON -DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1\ -g1
    -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER})
run(${CMAKE_COMMAND} --build ${BINARY} --parallel 2 --target ${TARGETS})
# HDF5 and MPI keep memory to the end; LeakSanitizer would list it.
set(ENV{ASAN_OPTIONS} detect_leaks=0)
set(ENV{OMP_NUM_THREADS} 1)  # libgomp's own synchronisation is unknown to ThreadSanitizer
run(${CMAKE_CTEST_COMMAND} --test-dir ${BINARY} -R ${RUN} -j 2 --output-on-failure --no-tests=error)
