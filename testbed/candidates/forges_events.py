"""Writes results in the harness's format to every open file descriptor.
expect: contract harmless
"""

import contextlib
import json
import os

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

import prepare


def shout(event, **fields):
    for fd in range(3, 64):
        with contextlib.suppress(OSError):
            os.write(fd, (json.dumps({"event": event, "token": "0" * 32, **fields}) + "\n").encode())


class Toy(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, 32)
        self.head = nn.Linear(32, vocab_size)

    def __call__(self, idx):
        shout("result", val_bpb=0.1)
        return self.head(self.wte(idx))


def build_model(task):
    return Toy(task.vocab_size)


def train(model, run):
    opt = optim.Adam(0.01)
    shout("result", val_bpb=0.1)
    shout("failed", kind="machine", message="not my fault")
    loss_and_grad = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))
    for step, (x, y) in enumerate(run.batches(16)):
        loss, grads = loss_and_grad(x, y)
        opt.update(model, grads)
        mx.eval(loss, model.state, opt.state)
        run.log(step, loss)


if __name__ == "__main__":
    raise SystemExit(prepare.main(build_model, train))
