"""The least time of a GPT-2 training step, from what it must compute and move and what the GPU can.

Every part of the step takes at least the larger of its arithmetic over the speed of matrix products and its bytes over the
speed of memory; parts follow one another. `library` is the same with the speeds that libraries reach instead.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Gpt:
    """A GPT-2 with tied output, `batch` samples of `length` tokens, activations and weights in `element` bytes."""

    layers: int
    width: int
    vocabulary: int
    length: int
    batch: int
    element: int = 2

    @property
    def tokens(self):
        return self.batch * self.length

    @property
    def parameters(self):
        block = 12 * self.width**2 + 13 * self.width
        return (self.vocabulary + self.length + 2) * self.width + self.layers * block

    @property
    def activation(self):
        """Bytes of one [tokens, width] tensor."""
        return self.tokens * self.width * self.element


@dataclasses.dataclass(frozen=True)
class Part:
    name: str
    flops: float  # of matrix products, forward and backward
    bytes: float  # read and written
    kind: str  # gemm, attention or memory


@dataclasses.dataclass(frozen=True)
class Speeds:
    """Floating-point operations and bytes per second."""

    gemm: float
    memory: float
    attention_forward: float
    attention_backward: float

    @classmethod
    def hardware(cls, gemm, memory):
        return cls(gemm, memory, gemm, gemm)


def attention_flops(gpt):
    """Forward and backward of causal attention: backward multiplies five times where forward does twice."""
    forward = 2 * gpt.length * gpt.width * gpt.tokens * gpt.layers
    return forward, 2.5 * forward


def parts(gpt):
    def gemm(name, inputs, outputs, count):
        """Three products, y = x w, dx = dy w', dw = x' dy, each of which reads two of x, y and w and writes the third."""
        moved = 3 * (gpt.tokens * (inputs + outputs) + inputs * outputs) * gpt.element
        return Part(name, 6.0 * gpt.tokens * inputs * outputs * count, moved * count, "gemm")

    c, unit, logits = gpt.width, gpt.activation, gpt.tokens * gpt.vocabulary * gpt.element
    norms = 2 * gpt.layers + 1
    return [
        gemm("QKV", c, 3 * c, gpt.layers),
        gemm("attention projection", c, c, gpt.layers),
        gemm("fc", c, 4 * c, gpt.layers),
        gemm("fc projection", 4 * c, c, gpt.layers),
        gemm("LM head", c, gpt.vocabulary, 1),
        # Forward reads q, k, v and writes o; backward reads them, o and do, and writes dq, dk, dv.
        Part("attention", sum(attention_flops(gpt)), 14 * unit * gpt.layers, "attention"),
        # Forward reads x and the residual, writes their sum and its norm; backward reads dy, the sum and its gradient, writes dx.
        Part("residual and layer norm", 0, 8 * unit * norms, "memory"),
        # In the epilogues of fc: forward writes what gelu is applied to, backward reads it.
        Part("gelu", 0, 8 * unit * gpt.layers, "memory"),
        Part("cross-entropy", 0, 2 * logits, "memory"),
        # AdamW reads gradient, master and two moments, writes three of them and the bf16 parameter; norm and clearing of gradients.
        Part("embedding, AdamW, norm, clear", 0, unit + 36 * gpt.parameters, "memory"),
    ]


def seconds(gpt, part, speeds):
    if part.kind == "attention":
        forward, backward = attention_flops(gpt)
        computed = forward / speeds.attention_forward + backward / speeds.attention_backward
    else:
        computed = part.flops / speeds.gemm
    return max(computed, part.bytes / speeds.memory)


def floor(gpt, speeds):
    """Seconds of a step: F_hw with Speeds.hardware of the run's ceilings, F_lib with what its libraries reach."""
    return sum(seconds(gpt, part, speeds) for part in parts(gpt))


def model_flops(gpt):
    return sum(part.flops for part in parts(gpt))


def agree(first, last, tolerance=0.03):
    """Names of the ceilings that moved by more than `tolerance` between the begin and the end of a run."""
    return [name for name, value in first.items() if abs(last[name] - value) > tolerance * max(value, last[name])]
