"""The recurrence as the program unrolls it: stack calls, which of them are differentiated, and what merges where."""
import dataclasses

X, ZL_INIT = "x", "zL_init"


@dataclasses.dataclass
class Call:
    name: str
    first: str
    second: str
    on: bool  # differentiated


@dataclasses.dataclass
class Backward:
    """Backward pass of one call: how often its gradient is added to another value's, and copied for one."""
    call: Call
    adds: int
    copies: int


def unroll(model):
    """zL = L(zL + zH) l_cycles times, then zH = H(zH + zL), h_cycles times."""
    high_on = min(model.h_cycles, model.horizon - 1)
    low_on = model.horizon - high_on
    calls, high, low = [], X, ZL_INIT
    for i in range(model.h_cycles):
        for k in range(i * model.l_cycles, (i + 1) * model.l_cycles):
            calls.append(Call(f"L_{k}", low, high, k >= model.h_cycles * model.l_cycles - low_on))
            low = calls[-1].name
        calls.append(Call(f"H_{i}", high, low, i >= model.h_cycles - high_on))
        high = calls[-1].name
    return calls


def backward(calls):
    """Differentiated calls, last first. An operand without a gradient so far takes the call's over, a second one gets
    a copy, any other an addition."""
    on = {call.name for call in calls if call.on} | {X}
    with_gradient = {calls[-1].name}
    plan = []
    for call in reversed(calls):
        if call.name not in with_gradient:
            continue
        step = Backward(call, 0, 0)
        taken_over = False
        for operand in (call.first, call.second):
            if operand not in on:
                continue
            if operand in with_gradient:
                step.adds += 1
            elif taken_over:
                step.copies += 1
                with_gradient.add(operand)
            else:
                taken_over = True
                with_gradient.add(operand)
        plan.append(step)
    return plan


def reaches_embedding(calls):
    return any(call.on and X in (call.first, call.second) for call in calls)
