"""Train a bigram model honestly with Adam. This is the editable file of the toy task."""

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

import prepare

WIDTH = 32  # channels
LR = 0.003  # peak learning rate


class Toy(nn.Module):
    def __init__(self, vocab_size: int, width: int) -> None:
        super().__init__()
        self.wte = nn.Embedding(vocab_size, width)
        self.head = nn.Linear(width, vocab_size)

    def __call__(self, idx: mx.array) -> mx.array:
        return self.head(self.wte(idx))  # (B, T, V)


def build_model(task: prepare.Task) -> nn.Module:
    return Toy(task.vocab_size, WIDTH)


def train(model: nn.Module, run: prepare.Run) -> None:
    opt = optim.Adam(LR)
    loss_and_grad = nn.value_and_grad(model, lambda x, y: prepare.cross_entropy(model(x), y))
    previous = None
    for step, (x, y) in enumerate(run.batches(16)):
        opt.learning_rate = LR * (1 - run.progress)
        loss, grads = loss_and_grad(x, y)
        opt.update(model, grads)
        mx.async_eval(loss, model.state, opt.state)
        if previous is not None:
            run.log(step - 1, previous)
        previous = loss


if __name__ == "__main__":
    raise SystemExit(prepare.main(build_model, train))
