#pragma once
// Runs the source of a CUDA kernel, compiled as plain C++ with HRM_SIMT, on the CPU: one fiber per CUDA thread.
// kernels/cuda_device.hpp includes this in place of the toolkit's headers. What tests set and count is in
// simt/control.hpp.
//
// It shows wrong numbers, missing barriers and waits, deadlocks, launches beyond a GPU's limits; with AddressSanitizer
// accesses out of bounds; with ThreadSanitizer races between the threads of a block. It shows nothing about speed,
// races between blocks, or the memory model; and threads take turns only where they meet, so a thread that spins until
// another has done something spins for ever.
#include "simt/collectives.hpp"
#include "simt/control.hpp"
#include "simt/launch.hpp"
#include "simt/tensor_core.hpp"
#include "simt/words.hpp"
