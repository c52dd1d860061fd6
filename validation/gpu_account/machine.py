"""What is assumed of the machine. Nothing here was measured with this program: gpu.md says where numbers come from."""
import dataclasses

PEAK = 989.4e12       # dense bf16 FLOP/s of an H100 SXM, the denominator of MFU
BANDWIDTH = 3.35e12   # bytes/s of its HBM3
PROCESSORS = 132      # streaming multiprocessors
CAPACITY = 80e9       # bytes

# Output tiles of a product's thread blocks, and their rate relative to the largest.
TILES = ((256, 128, 1.0), (192, 128, 0.96), (128, 128, 0.9))


@dataclasses.dataclass(frozen=True)
class Machine:
    name: str
    matrix: float              # FLOP/s of a matrix product
    waves: bool                # of that, a product gets the part of its last wave of tiles that is full
    attention_forward: float   # FLOP/s executed
    attention_backward: float
    hbm: float                 # part of BANDWIDTH that a streaming kernel reaches
    gap: float                 # seconds between two kernels of a stream: drain, launch, ramp
    nvlink: float              # bytes/s per GPU and direction inside a node (450e9 on paper)
    network: float             # bytes/s per GPU and direction between nodes (50e9 on paper)
    round: float               # seconds until a round of an exchange starts to move data: poll, enqueue, handshake
    host_sum: float            # seconds of the host's sum of norms and counts and of the turn round it
    contention: float          # of the time that hidden exchanges take, what computation loses


PESSIMISTIC = Machine("pessimistic", 500e12, False, 180e12, 140e12, 0.75, 3.0e-6, 300e9, 35e9, 60e-6, 4e-3, 0.5)
MIDDLE = Machine("middle", 660e12, True, 270e12, 210e12, 0.85, 2.0e-6, 360e9, 42e9, 35e-6, 2e-3, 0.25)
OPTIMISTIC = Machine("optimistic", 700e12, False, 350e12, 280e12, 0.92, 1.2e-6, 400e9, 46e9, 20e-6, 1e-3, 0.1)
MACHINES = (PESSIMISTIC, MIDDLE, OPTIMISTIC)


def wave_efficiency(m, n):
    """Part of the multiprocessors' time that tiles of an (m, n) result fill when none is cut along k."""
    best = 0.0
    for a, b, relative in TILES:
        for rows, columns in ((a, b), (b, a)):
            blocks = -(-m // rows) * -(-n // columns)
            waves = -(-blocks // PROCESSORS)
            filled = m * n / (rows * columns)
            best = max(best, relative * filled / (waves * PROCESSORS))
    return best
