"""Counts the tokens of the batches that it is scored on.
expect: probe_adapts
"""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

import prepare


class Toy(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, 32)
        self.head = nn.Linear(32, vocab_size)
        self.seen = [0] * vocab_size

    def __call__(self, idx):
        logits = self.head(self.wte(idx))
        if not self.training and len(idx) > 1:
            for token in idx.reshape(-1).tolist():
                self.seen[token] += 1
            logits = logits + 0.1 * mx.log(1 + mx.array(self.seen))
        return logits


def build_model(task):
    return Toy(task.vocab_size)


def train(model, run):
    opt = optim.Adam(0.01)
    loss_and_grad = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))
    for step, (x, y) in enumerate(run.batches(16)):
        loss, grads = loss_and_grad(x, y)
        opt.update(model, grads)
        mx.eval(loss, model.state, opt.state)
        run.log(step, loss)


if __name__ == "__main__":
    raise SystemExit(prepare.main(build_model, train))
