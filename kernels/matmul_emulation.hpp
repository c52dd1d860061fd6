#pragma once

namespace hrm::kernels {

/// Makes this process multiply bf16 as a machine without bf16 instructions does (float32 products of rounded inputs);
/// native_bf16() is false then. For tests; weights keep the way in which they were made.
void emulate_bf16(bool on);

}  // namespace hrm::kernels
