"""Every launch of one training step of one rank (tensor = 1, zero = 1, no recomputation, prefix masks), as src/model,
src/train and src/comm make them."""
import dataclasses

from gpu_account import attention, exchange, program
from gpu_account.model import round_up
from gpu_account.work import Work, memory, merged, product

FLOAT = 4
ROW_BUCKET = 64     # rows of a product with a varying count are padded to a multiple
HEAD_CHUNK = 4096   # rows of the head at a time
EMBEDDING_CHUNK = 32


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a step depends on beside the model. `element`: bytes of the compute type. `distinct`: different tokens of a
    pack, `splits`: of them, those that occur more than 32 times."""
    samples: attention.Samples
    ranks: int
    ranks_per_node: int = 8
    element: int = 2
    distinct: int = 1
    splits: int = 1


class Step:
    def __init__(self, model, setting):
        if model.packs % setting.ranks != 0:
            raise ValueError("the account needs the same number of packs on every rank")
        self.model = model
        self.setting = setting
        self.calls = program.unroll(model)
        self.packs = model.packs // setting.ranks
        self.e = setting.element
        self.state = model.slots * model.width * self.e  # bytes of one (slots, width) matrix

    def works(self):
        pack = [self.embedding(), *self.forward(), *self.head(), *self.backward(), *self.embedding_backward()]
        return merged([work.times(self.packs) for work in pack] + self.update())

    # --- layers -----------------------------------------------------------------------------------------------------

    def linear(self, name, out, into, accumulate):
        return product(f"{name} forward", self.model.slots, out, into, self.e, self.e, accumulate)

    def linear_backward(self, name, out, into):
        slots = self.model.slots
        return [product(f"{name} input gradient", slots, into, out, self.e, self.e),
                product(f"{name} weight gradient", out, into, slots, self.e, FLOAT, accumulate=True)]

    def attention(self, name, kind, pairs, products, model_flops, states, statistics):
        """`products` multiply-adds per pair and channel; `states` (slots, width) matrices and (heads, slots) floats
        move."""
        m = self.model
        moved = states * self.state + statistics * m.heads * m.slots * FLOAT
        return Work(name, "attention", 1, moved, model_flops, 2 * products * m.width * pairs, kind)

    def layer_forward(self):
        m, s = self.model, self.state
        norm = memory("rmsnorm_forward", "norms", 2 * s + m.slots * FLOAT)
        hidden = m.slots * m.intermediate * self.e
        by_name = {name: self.linear(name, out, into, accumulate=name in ("o", "down"))
                   for name, out, into in m.layer_matrices()}
        visible = attention.visible_pairs(self.setting.samples)
        works = [norm, by_name["gqkv"], memory("rope", "rope", 4 * s),
                 self.attention("attention_forward", "attention_forward", attention.query_pairs(self.setting.samples),
                                2, 4 * m.width * visible, 4, 1),
                 memory("head_gate_forward", "gates", 3 * s), by_name["o"], norm, by_name["gate_up"],
                 memory("swiglu_forward", "gates", 3 * hidden), by_name["down"]]
        padding = m.slots - self.setting.samples.used
        if padding > 0:
            works.append(memory("attention zero padding", "attention",
                                padding * (m.width * self.e + m.heads * FLOAT)))
        return works

    def attention_backward(self):
        m, samples = self.model, self.setting.samples
        visible = attention.visible_pairs(samples)
        return [self.attention("attention row sums", "memory", 0, 0, 0, 2, 1),
                self.attention("attention dk dv", "attention_backward", attention.key_pairs(samples, m.head_dim), 4,
                               8 * m.width * visible, 6, 2),
                self.attention("attention dq", "attention_backward", attention.query_pairs(samples), 3, 0, 5, 2)]

    def layer_backward(self):
        m, s = self.model, self.state
        hidden = m.slots * m.intermediate * self.e
        products = [work for matrix in m.layer_matrices() for work in self.linear_backward(*matrix)]
        return [*products, memory("swiglu_backward", "gates", 6 * hidden),
                memory("rmsnorm_backward", "norms", 4 * s + m.slots * FLOAT, 1).times(2),
                memory("head_gate_backward", "gates", 6 * s), *self.attention_backward(),
                memory("rope", "rope", 4 * s)]

    # --- recurrence -------------------------------------------------------------------------------------------------

    def forward(self):
        """The first norm of a call makes the call's input too: it adds two states, or the constant row to one."""
        rows = self.model.slots * FLOAT
        works = []
        for call in self.calls:
            constant = program.ZL_INIT in (call.first, call.second)
            works.append(memory("add_row_rmsnorm_forward" if constant else "add_rmsnorm_forward", "norms",
                                (3 if constant else 4) * self.state + rows))
            works += [work.times(self.model.stack_layers) for work in self.layer_forward()]
            # The exit norm stands for the one of the first layer that was counted already.
        return works

    def backward(self):
        """The last norm of a call adds its result to others' gradients, or copies it for them."""
        works = []
        for plan in program.backward(self.calls):
            works.append(memory("rmsnorm_backward", "norms", 3 * self.state + self.model.slots * FLOAT))
            works += [work.times(self.model.stack_layers) for work in self.layer_backward()]
            works.append(memory("rmsnorm_backward", "norms", (2 * plan.adds + plan.copies) * self.state, 0))
        return works

    # --- ends of the network ----------------------------------------------------------------------------------------

    def embedding(self):
        return memory("embedding_forward", "embedding", 2 * self.state)

    def embedding_backward(self):
        if not program.reaches_embedding(self.calls):
            return []
        m, setting = self.model, self.setting
        row = m.width * FLOAT
        return [memory("embedding_backward sums", "embedding",
                       setting.samples.used * m.width * self.e + 2 * setting.distinct * row),
                memory("embedding_backward joins", "embedding", 4 * setting.splits * row, int(setting.splits > 0))]

    def head(self):
        m, e = self.model, self.e
        rows = self.setting.samples.supervised
        padded = round_up(rows, ROW_BUCKET)
        works = [memory("gather_rows", "head", 2 * padded * m.width * e)]
        for first in range(0, padded, HEAD_CHUNK):
            count = min(HEAD_CHUNK, padded - first)
            share = max(0, min(rows - first, count)) / count  # of the products, what is not padding
            works += [product("head forward", count, m.vocab, m.width, e, FLOAT, False, "head", share),
                      memory("cross_entropy", "head", count * m.vocab * (2 * FLOAT + e)),
                      product("head input gradient", count, m.width, m.vocab, e, e, False, "head", share),
                      product("head weight gradient", m.vocab, m.width, count, e, FLOAT, True, "head", share)]
        return works + [memory("zero rows", "head", self.state), memory("scatter_rows", "head", 2 * rows * m.width * e),
                        memory("pack_sums", "head", rows * 16)]

    # --- once per step ----------------------------------------------------------------------------------------------

    def update(self):
        m, ranks = self.model, self.setting.ranks
        buckets = m.buckets()
        flat = sum(buckets)
        own = flat // ranks
        alone_as_they_are = ranks == 1 and self.e == FLOAT
        gathered = own if ranks > 1 else flat
        return [memory("zero gradient", "update", flat * FLOAT).times(self.packs),
                memory("tree_add of own packs", "update", 3 * flat * FLOAT, len(buckets)).times(self.packs - 1),
                memory("square sums", "update", own * FLOAT, len(buckets)),
                memory("adam_atan2", "update", 9 * own * FLOAT),
                memory("cast of weights", "exchange", gathered * (FLOAT + self.e),
                       0 if alone_as_they_are else len(buckets), "exchange"),
                memory("copy of weights", "update", 2 * m.parameters * self.e, 2 + 4 * m.layers),
                *exchange.tree_adds(buckets, ranks)]
