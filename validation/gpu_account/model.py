"""Sizes of a run, read from its configuration file as the program completes them."""
import configparser
import dataclasses

FLAT_BLOCK = 4096  # a bucket of the flat array is a multiple of it
DEFAULTS = {("model", "h_cycles"): 2, ("model", "l_cycles"): 3, ("model", "bp_max_steps"): 5, ("model", "head_dim"): 0,
            ("model", "intermediate_size"): 0, ("model", "intermediate_multiple"): 256, ("model", "vocab_size"): 65536,
            ("train", "packs"): 8, ("train", "pack_tokens"): 12288}


def round_up(value, multiple):
    return -(-value // multiple) * multiple


@dataclasses.dataclass(frozen=True)
class Model:
    """An HRM and its batch. `stack_layers`: of one stack; `slots`: of one pack."""
    name: str
    stack_layers: int
    width: int
    heads: int
    intermediate: int
    vocab: int
    h_cycles: int
    l_cycles: int
    horizon: int  # differentiated stack calls
    packs: int
    slots: int

    @property
    def layers(self):
        return 2 * self.stack_layers

    @property
    def head_dim(self):
        return self.width // self.heads

    def layer_matrices(self):
        """(name, out, in) of a layer's weights."""
        d, f = self.width, self.intermediate
        return [("gqkv", 4 * d, d), ("o", d, d), ("gate_up", 2 * f, d), ("down", d, f)]

    @property
    def layer_parameters(self):
        return sum(out * into for _, out, into in self.layer_matrices())

    def buckets(self):
        """Elements of the flat array's buckets: embedding, head, layers."""
        table = round_up(self.vocab * self.width, FLAT_BLOCK)
        return [table, table] + [round_up(self.layer_parameters, FLAT_BLOCK)] * self.layers

    @property
    def parameters(self):
        return 2 * self.vocab * self.width + self.layers * self.layer_parameters


def read_model(path, name, settings=()):
    """Model of a configuration file; `settings`: (section, key, value) that win over it. HRM with bp_max_steps only."""
    file = configparser.ConfigParser(inline_comment_prefixes=("#",))
    with open(path, encoding="utf-8") as text:
        file.read_file(text)
    for section, key, value in settings:
        if not file.has_section(section):
            file.add_section(section)
        file.set(section, key, str(value))
    if file.get("model", "architecture", fallback="hrm") != "hrm":
        raise ValueError(f"{path}: the account knows model.architecture = hrm only")

    def number(section, key):
        return file.getint(section, key, fallback=DEFAULTS.get((section, key)))

    width = number("model", "hidden_size")
    multiple = number("model", "intermediate_multiple")
    feed_forward = number("model", "intermediate_size") or round_up(round(4 * width * 2 / 3), multiple)
    return Model(name=name, stack_layers=number("model", "layers") // 2, width=width,
                 heads=number("model", "num_heads"), intermediate=feed_forward, vocab=number("model", "vocab_size"),
                 h_cycles=number("model", "h_cycles"), l_cycles=number("model", "l_cycles"),
                 horizon=number("model", "bp_max_steps"), packs=number("train", "packs"),
                 slots=number("train", "pack_tokens"))
