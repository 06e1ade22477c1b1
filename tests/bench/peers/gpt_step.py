"""One optimizer step of a GPT under DDP or FSDP2 on gloo: forward, backward, reduction, clip, fused AdamW.

    torchrun --standalone --nproc-per-node 2 tests/bench/peers/gpt_step.py [--strategy fsdp] [--variant compile]

Tokens per second count all ranks; each rank has --threads threads. Variants: eager, compile (torch.compile around
DDP or the sharded model), compile-inside (DDP around the compiled model, or sharding around compiled blocks);
--mode max-autotune-no-cudagraphs tunes matrix products as well. FSDP2 shards every block and what is left, the root.
Which is fastest depends on the machine: the peer is the best of them.
"""

import argparse

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import blocks
import gpt


def replicated(model, options):
    replica = DistributedDataParallel(
        torch.compile(model, mode=options.mode) if options.variant == "compile-inside" else model,
        bucket_cap_mb=options.bucket_mib,
        gradient_as_bucket_view=True,
        static_graph=options.variant == "eager",
    )
    if options.variant == "compile":  # around DDP: the graph is cut where buckets end
        replica = torch.compile(replica, mode=options.mode)
    return replica


def sharded(model, options):
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for block in model.h:
        if options.variant == "compile-inside":
            block.compile(mode=options.mode)
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    if options.variant == "compile":
        model.compile(mode=options.mode)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpt.add_arguments(parser, layers=4, width=256, heads=4, vocabulary=8192, length=128, batch=8)
    blocks.arguments(parser, warmup=10, blocks=7, steps=20)
    parser.add_argument("--strategy", choices=["ddp", "fsdp"], default="ddp")
    parser.add_argument("--variant", choices=["eager", "compile", "compile-inside"], default="eager")
    parser.add_argument("--mode", default="default", help="mode of torch.compile")
    parser.add_argument("--bucket-mib", type=float, default=25)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dist.init_process_group("gloo")
    model = gpt.build(options)
    replica = {"ddp": replicated, "fsdp": sharded}[options.strategy](model, options)
    parameters = list(model.parameters())  # shards of them, of a sharded model
    optimizer = gpt.adamw(model)
    data = gpt.batches(options, dist.get_rank(), 8)
    losses = []

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = replica(*data[len(losses) % len(data)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        losses.append(loss.detach())

    seconds = blocks.measure(options, step)
    if dist.get_rank() == 0:
        tokens = options.batch * options.length * dist.get_world_size()
        blocks.report(
            "gpt_step",
            strategy=options.strategy,
            variant=options.variant,
            ranks=dist.get_world_size(),
            parameters=sum(p.numel() for p in parameters),
            tokens_per_step=tokens,
            tokens_per_second=blocks.summary([tokens / s for s in seconds]),
            step_ms=blocks.summary([1e3 * s for s in seconds]),
            first_loss=round(losses[0].item(), 4),
            last_loss=round(losses[-1].item(), 4),
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
