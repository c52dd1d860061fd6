"""The GPUs of this machine."""
import csv
import dataclasses
import io
import shutil
import subprocess

# Dense bf16 FLOP/s of the data sheets, by a part of the name nvidia-smi gives; the first that fits.
PEAKS = [("H100 PCIe", 756e12), ("H100 NVL", 835e12), ("H100", 989.4e12), ("H200", 989.4e12), ("GH200", 989.4e12),
         ("B200", 2250e12), ("A100", 311.9e12), ("A800", 311.9e12), ("L40S", 362e12), ("4090", 165.2e12)]
FIELDS = ("name", "driver_version", "memory.total", "clocks.max.sm", "power.limit", "compute_cap")


@dataclasses.dataclass(frozen=True)
class Gpus:
    count: int
    name: str = ""
    memory: float = 0.0  # bytes of one
    facts: tuple = ()    # a dict of FIELDS for each

    @property
    def peak(self):
        """Dense bf16 FLOP/s, None where the name is not known."""
        return next((peak for part, peak in PEAKS if part in self.name), None)


def parse(text):
    rows = [dict(zip(FIELDS, (word.strip() for word in row))) for row in csv.reader(io.StringIO(text)) if row]
    if not rows:
        return Gpus(0)
    memory = rows[0]["memory.total"]
    return Gpus(len(rows), rows[0]["name"], float(memory) * 2**20 if memory.replace(".", "").isdigit() else 0.0,
                tuple(rows))


def find():
    """What nvidia-smi tells; none where it is missing."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return Gpus(0)
    done = subprocess.run([program, f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits"],
                          capture_output=True, text=True, check=False, timeout=60)
    return parse(done.stdout) if done.returncode == 0 else Gpus(0)
