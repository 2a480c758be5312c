"""Never evaluates a step, so that all the arithmetic is left for after the budget.
expect: overrun memory exited
"""

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
    for x, y in run.batches(2000):
        _, grads = loss_and_grad(x, y)
        opt.update(model, grads)


if __name__ == "__main__":
    raise SystemExit(prepare.main(build_model, train))
