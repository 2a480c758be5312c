"""Train a small GPT honestly."""

from __future__ import annotations

import math  # noqa: F401
from dataclasses import dataclass
from functools import partial  # noqa: F401

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx.utils import tree_flatten, tree_map  # noqa: F401

import prepare

DEPTH = 2  # layers
WIDTH = 32  # channels
HEADS = 2  # attention heads
LR = 0.01  # peak learning rate
ROWS = 4  # rows a step


@dataclass
class Config:
    vocab_size: int
    depth: int = DEPTH
    width: int = WIDTH
    heads: int = HEADS


def norm(x):
    return mx.fast.rms_norm(x, None, 1e-5)


class Attention(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def __call__(self, x):
        B, T, C = x.shape
        q, k, v = (p.reshape(B, T, self.heads, -1).transpose(0, 2, 1, 3) for p in mx.split(self.qkv(x), 3, axis=-1))
        y = mx.fast.scaled_dot_product_attention(q, k, v, scale=(C // self.heads) ** -0.5, mask="causal")
        return self.out(y.transpose(0, 2, 1, 3).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.fc = nn.Linear(config.width, 4 * config.width, bias=False)
        self.out = nn.Linear(4 * config.width, config.width, bias=False)

    def __call__(self, x):
        return self.out(mx.square(nn.relu(self.fc(x))))


class Block(nn.Module):
    def __init__(self, config: Config, layer: int):
        super().__init__()
        self.attn = Attention(config)
        self.mlp = MLP(config)

    def __call__(self, x):
        x = x + self.attn(norm(x))
        return x + self.mlp(norm(x))


class GPT(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.width)
        self.h = [Block(config, i) for i in range(config.depth)]
        self.head = nn.Linear(config.width, config.vocab_size, bias=False)

    def __call__(self, idx):
        x = norm(self.wte(idx))
        for block in self.h:
            x = block(x)
        return self.head(norm(x))


def schedule(progress):
    return min(1.0, 2 - 2 * progress)


def build_model(task):
    config = Config(task.vocab_size)
    return GPT(config)


def train(model, run):
    opt = optim.Adam(LR)

    def loss_fn(x, y):
        return prepare.cross_entropy(model(x), y)

    loss_and_grad = nn.value_and_grad(model, loss_fn)
    previous = None
    for step, (x, y) in enumerate(run.batches(ROWS)):
        opt.learning_rate = LR * schedule(run.progress)
        loss, grads = loss_and_grad(x, y)
        opt.update(model, grads)
        mx.async_eval(loss, model.state, opt.state)
        if previous is not None:
            run.log(step - 1, previous)
        previous = loss


if __name__ == "__main__":
    raise SystemExit(prepare.main(build_model, train))
