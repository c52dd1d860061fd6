"""What gpu_registers.py reads from the compiler, on messages and PTX made by hand."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "validation"))
import gpu_registers

NAME = "_Z14forward_kernelILi64EEvPKf"


def log(registers=168, stores=0):
    lines = []
    for arch in ("sm_80", "sm_90"):
        lines.append(f"ptxas info    : Compiling entry function '{NAME}' for '{arch}'\n"
                     f"ptxas info    : Function properties for {NAME}\n"
                     f"    0 bytes stack frame, {stores} bytes spill stores, 0 bytes spill loads\n"
                     f"ptxas info    : Used {registers} registers, used 1 barriers, 512 bytes smem, 400 bytes cmem[0]\n")
    return "".join(lines)


def ptx(body):
    return f".visible .entry {NAME}(\n.param .u64 x\n)\n.maxntid 128, 1, 1\n{{\n{body}\n}}\n"


GOOD = "mma.sync.aligned.m16n8k16 ...; ldmatrix.sync ...; cp.async.cg.shared.global [%r1], [%rd1], 16;"


def parse(text, body=GOOD):
    return gpu_registers.parse("attention_cuda.cu", text, ptx(body))


class Registers(unittest.TestCase):
    def test_fields_of_a_kernel(self):
        (kernel,) = parse(log())

        self.assertEqual((kernel.name, kernel.registers, kernel.shared, kernel.threads),
                         ("forward_kernel<64>", {"sm_80": 168, "sm_90": 168}, 512, 128))
        self.assertEqual(gpu_registers.complaints([kernel]), [])

    def test_spills_are_named(self):
        found = gpu_registers.complaints(parse(log(stores=8)))

        self.assertEqual(len(found), 2)
        self.assertIn("forward_kernel<64> spills 8 bytes for sm_80", found[0])

    def test_missing_tensor_core_instructions_are_named(self):
        found = gpu_registers.complaints(parse(log(), "mma.sync ldmatrix"))

        self.assertEqual(found, ["attention_cuda.cu: the PTX of forward_kernel<64> holds no cp.async.cg.shared.global"])

    def test_missing_architecture_is_named(self):
        half = log()[: len(log()) // 2]

        self.assertIn("was not compiled for", gpu_registers.complaints(parse(half))[0])

    def test_blocks_that_the_register_file_holds(self):
        # 65536 / (168 * 128) = 3.05; 255 registers are given out as 256.
        self.assertEqual([gpu_registers.blocks_by_registers(n, 128) for n in (168, 170, 255, 32)], [3, 2, 2, 16])

    def test_other_registers_are_a_difference_of_the_same_compiler_only(self):
        old = gpu_registers.report("nvcc release 13.0, V13.0.88", parse(log()))
        new = gpu_registers.report("nvcc release 13.0, V13.0.88", parse(log(registers=170)))
        other = gpu_registers.report("nvcc release 12.4, V12.4.1", parse(log(registers=170)))

        self.assertEqual(gpu_registers.differences(old, old), [])
        self.assertTrue(any("170" in line for line in gpu_registers.differences(new, old)))
        self.assertEqual(gpu_registers.differences(other, old), [])

    def test_names_lose_namespaces_and_parameters(self):
        name = ("void hrm::kernels::cuda::_GLOBAL__N__0e69_15_rmsnorm_cuda_cu_4b::norm_forward<hrm::bf16, 4, true, false>("
                "hrm::Matrix<hrm::bf16 const>, float)")

        self.assertEqual(gpu_registers.shortened(name), "norm_forward<bf16, 4, true, false>")


if __name__ == "__main__":
    unittest.main()
