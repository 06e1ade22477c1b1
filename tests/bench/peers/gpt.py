"""A GPT-2 as its users write it for PyTorch: pre-norm blocks, packed QKV, fused attention, tied output."""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = nn.Linear(width, 3 * width)
        self.attn_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.mlp_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        samples, length, width = x.shape
        packed = self.c_attn(self.ln_1(x)).view(samples, length, 3, self.heads, width // self.heads)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_proj(mixed.transpose(1, 2).reshape(samples, length, width))
        return x + self.mlp_proj(functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt(nn.Module):
    """forward(tokens [B, T], targets [B, T]) returns the mean loss."""

    def __init__(self, layers, width, heads, vocabulary, length):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(length, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        logits = functional.linear(self.ln_f(x), self.wte.weight)
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def add_arguments(parser, layers, width, heads, vocabulary, length, batch):
    parser.add_argument("--layers", type=int, default=layers)
    parser.add_argument("--width", type=int, default=width)
    parser.add_argument("--heads", type=int, default=heads)
    parser.add_argument("--vocabulary", type=int, default=vocabulary)
    parser.add_argument("--length", type=int, default=length, help="tokens in a sample")
    parser.add_argument("--batch", type=int, default=batch, help="samples per rank")


def build(options):
    torch.manual_seed(42)  # the same parameters on all ranks
    return Gpt(options.layers, options.width, options.heads, options.vocabulary, options.length)


def adamw(model):
    """PyTorch's fastest AdamW, decay for parameters of two or more dimensions only."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, fused=True)


def batches(options, rank, count):
    """count batches of random tokens: pairs (tokens, targets), different on each rank."""
    generator = torch.Generator().manual_seed(1 + rank)
    shape = (count, options.batch, options.length + 1)
    windows = torch.randint(options.vocabulary, shape, generator=generator)
    return [(w[:, :-1].contiguous(), w[:, 1:].contiguous()) for w in windows]
