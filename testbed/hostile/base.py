"""Train a bigram model honestly with Adam. The hostile candidates are edits of this file (edits.txt)."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

import prepare


class Toy(nn.Module):
    def __init__(self, vocab_size):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, 32)
        self.head = nn.Linear(32, vocab_size)

    def __call__(self, idx):
        return self.head(self.wte(idx))


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
