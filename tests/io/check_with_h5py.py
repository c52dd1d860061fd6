"""Reads files written by hrm with h5py and numpy alone, and recomputes every digest from the definition.

usage: check_with_h5py.py FILE... ; prints one line a file, exits 1 with the first thing that is wrong.
"""
import struct
import sys

import h5py
import numpy as np

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(x):
    with np.errstate(over="ignore"):
        z = x + GOLDEN
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def digest(words):
    index = np.arange(words.size, dtype=np.uint64)
    with np.errstate(over="ignore"):
        return int(np.sum(mix(words.astype(np.uint64) ^ mix(index)), dtype=np.uint64))


def bytes_digest(data):
    return digest(np.frombuffer(data, dtype=np.uint8))


def dataset_digest(dataset):
    if h5py.check_string_dtype(dataset.dtype) is not None:
        texts = [dataset[()]] if dataset.shape == () else list(dataset[()])
        return bytes_digest(b"".join(text + b"\0" for text in texts))
    if dataset.dtype.names:
        return bytes_digest(dataset[()].tobytes())
    values = np.ascontiguousarray(dataset[()]).reshape(-1)
    return digest(values.view(f"<u{values.dtype.itemsize}"))


def check_user_block(path):
    data = open(path, "rb").read()
    magic, version, length, file_digest, own = struct.unpack("<8sQQQQ", data[:40])
    assert magic == b"HRMDIGST" and version == 1, f"{path}: magic or version"
    assert length == len(data), f"{path}: length"
    assert own == digest(np.frombuffer(data[:32], dtype="<u8")), f"{path}: the block's own digest"
    assert data[40:512] == bytes(472), f"{path}: bytes behind the block's digest"
    body = data[512:] + bytes(-len(data[512:]) % 8)
    assert file_digest == digest(np.frombuffer(body, dtype="<u8")), f"{path}: file digest"


def dataset_paths(file):
    paths = []
    file.visititems(lambda name, item: paths.append("/" + name) if isinstance(item, h5py.Dataset) else None)
    return sorted(paths)


def check_integrity(path, file):
    rows = file["/integrity"][()]
    names = [row["name"].decode() for row in rows]
    assert names == sorted(names), f"{path}: /integrity is not sorted"
    assert names == [p for p in dataset_paths(file) if p != "/integrity"], f"{path}: /integrity lists other data sets"
    for row in rows:
        name = row["name"].decode()
        assert int(row["digest"]) == dataset_digest(file[name]), f"{path}: {name}"
    return {row["name"].decode(): int(row["digest"]) for row in rows}


def check_checkpoint(path, file, digests):
    state = file["/state"].attrs
    total = 0
    for name, value in digests.items():
        if name.split("/")[1] in ("model", "optimizer", "ema"):
            part = mix(np.array([bytes_digest(name.encode())], dtype=np.uint64)) ^ np.uint64(value)
            total += int(mix(part)[0])
    assert int(state["state_digest"]) == total % 2**64, f"{path}: state_digest"
    assert isinstance(state["run_id"], str) and isinstance(file.attrs["created_at"], str), f"{path}: attribute types"
    assert state["step"].dtype == np.int64 and state["learning_rate"].dtype == np.float64, f"{path}: attribute types"
    for name in ("config", "tokenizer"):
        file[name][()].decode("utf-8")


def check_shard(path, file):
    index = file["index"]
    end = index["offset"][()] + index["instruction_length"][()] + index["response_length"][()]
    assert end[-1] == file["tokens"].shape[0] == file.attrs["n_tokens"], f"{path}: the last sample ends elsewhere"
    assert index["offset"].shape[0] == file.attrs["n_samples"], f"{path}: n_samples"
    assert file["tokens"].dtype == (np.uint16 if file.attrs["vocab_size"] <= 65536 else np.uint32), f"{path}: token type"
    assert file["tokens"].chunks is None, f"{path}: /tokens is not contiguous"
    assert index["stratum"][()].max() < file["strata"].shape[0], f"{path}: stratum"


def check(path):
    check_user_block(path)
    with h5py.File(path, "r") as file:
        assert file.userblock_size == 512, f"{path}: user block size"
        assert file.attrs["format_version"] == 1 and file.attrs["created_by"].startswith("hrm "), f"{path}: head"
        digests = check_integrity(path, file)
        if file.attrs["format"] == "hrm-checkpoint":
            check_checkpoint(path, file, digests)
        if file.attrs["format"] == "hrm-corpus-shard":
            check_shard(path, file)
        print(path, file.attrs["format"], len(digests), "data sets")


for argument in sys.argv[1:]:
    check(argument)
