"""The one editable file: a GPT and its training. Everything here may change; prepare.py (data, clock, metric) may not.

From top to bottom: constants, model, optimizer, schedules, and what the harness calls: build_model and train.
B, T, C, V, H, D are rows, time (tokens), channels, vocabulary, heads and head dimension.
"""

import math
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_map, tree_unflatten

import prepare

# --- constants: what an experiment turns ---

# Size
DEPTH = 4  # layers
ASPECT_RATIO = 64  # channels a layer: C = DEPTH * ASPECT_RATIO, rounded up to a multiple of HEAD_DIM
HEAD_DIM = 128  # channels a head; 64, 72, 80, 96, 128, 192, 256 have fast attention on a GPU
HEADS_PER_KV = 1  # query heads a key/value head serves, lowered to a divisor
MLP_RATIO = 4  # hidden units of the MLP a channel
WINDOW_PATTERN = "L"  # tiled over the layers: L sees all, S a window; the last is always L
SHORT_WINDOW = 0.5  # S's window, as a share of the context
VALUE_EMBED_EVERY = 2  # every n-th layer, from the last, has a value embedding; 0: none
LOGIT_SOFTCAP = 15.0  # a tanh holds logits within +-this
ROPE_BASE = 10000.0

# Initialisation
HEAD_INIT_STD = 0.001
MATRIX_INIT_SCALE = 1.0  # times uniform +-sqrt(3 / C)
X0_LAMBDA_INIT = 0.1  # weight of the token embedding at a layer's entry

# Batch
TOTAL_BATCH_SIZE = 2**15  # tokens a step, rounded to whole rows
DEVICE_BATCH_SIZE = 8  # rows at once, at most; gradients are accumulated over a step's rows
TRAIN_ROW_PIECES = 1  # a training row is cut into so many: less context, cheaper

# Optimizer: Muon for the layers' matrices, AdamW for the rest
MATRIX_LR = 0.04  # Muon; times max(1, rows / cols)**0.5
EMBEDDING_LR = 0.6  # token and value embeddings; times (C / 768)**-0.5
UNEMBEDDING_LR = 0.004  # lm_head; times (C / 768)**-0.5
SCALAR_LR = 0.5  # x0_lambdas; a hundredth of it for resid_lambdas
ADAM_BETAS = (0.8, 0.95)
X0_BETAS = (0.96, 0.95)
ADAM_EPS = 1e-10
WEIGHT_DECAY = 0.2  # Muon's at the start, falling linearly to 0
MUON_MOMENTUM_START = 0.85
MUON_MOMENTUM = 0.95
MUON_MOMENTUM_STEPS = 300  # steps from the first momentum to the second
MUON_BETA2 = 0.95  # of NorMuon's second moment
NS_STEPS = 5  # Polar Express iterations, 1 to 5

# Learning rate over progress = used time / budget
WARMUP_RATIO = 0.0  # linear from 0 over this first share
WARMDOWN_RATIO = 0.5  # linear to FINAL_LR_FRAC over this last share
FINAL_LR_FRAC = 0.0

# Machine
COMPUTE_DTYPE = "bfloat16"  # or "float32", as CPUs always compute; parameters are float32 everywhere
STACK_MATRICES = True  # Muon on all matrices of a shape at once, to fill a GPU
CPU_STREAMS = 2  # micro-batches side by side on a CPU, a core each
QUERY_BLOCK = 128  # queries at once where attention has no fused kernel: windows, and CPUs

# --- model ---

GATE_CHANNELS = 32  # channels that a value-embedding gate reads


@dataclass(frozen=True)
class GPTConfig:
    sequence_len: int  # evaluation context, tokens
    vocab_size: int
    n_layer: int
    n_head: int
    n_kv_head: int
    n_embd: int  # C
    window_pattern: str = "L"
    dtype: mx.Dtype = mx.float32  # of the computation; parameters are float32

    def __post_init__(self):
        if self.n_embd % self.n_head or self.n_head % self.n_kv_head:
            raise ValueError(f"each must divide the one before: {self.n_embd=}, {self.n_head=}, {self.n_kv_head=}")
        if not self.window_pattern or set(self.window_pattern) - {"L", "S"}:
            raise ValueError(f"{self.window_pattern=} must be made of L and S")

    @property
    def windows(self) -> list[int]:
        """A layer's window w: position i sees j where 0 <= i - j <= w."""
        size = {"L": self.sequence_len, "S": max(1, int(self.sequence_len * SHORT_WINDOW))}
        pattern = [self.window_pattern[i % len(self.window_pattern)] for i in range(self.n_layer)]
        return [size[kind] for kind in [*pattern[:-1], "L"]]

    def has_value_embed(self, layer: int) -> bool:
        return VALUE_EMBED_EVERY > 0 and (self.n_layer - 1 - layer) % VALUE_EMBED_EVERY == 0


def norm(x):
    return mx.fast.rms_norm(x, None, 1e-6)


def relu_squared(x):
    return mx.square(nn.relu(x))


def rotate(x):
    """Rotary embedding of (B, H, T, D), split halves: y1 = x1 cos + x2 sin, y2 = -x1 sin + x2 cos."""
    return mx.fast.rope(x, x.shape[-1], traditional=False, base=ROPE_BASE, scale=-1.0, offset=0)


def uniform(shape, C):
    bound = MATRIX_INIT_SCALE * math.sqrt(3 / C)
    return mx.random.uniform(-bound, bound, shape)


@mx.custom_function
def linear(x, w):
    return x @ w.T


@linear.vjp
def linear_vjp(primals, dy, _):
    x, w = primals
    dw = dy.reshape(-1, dy.shape[-1]).T @ x.reshape(-1, x.shape[-1])
    return mx.depends(dy, dw) @ w, dw  # dw first: else dy would wait in memory for it


class Linear(nn.Module):
    """before(x) @ W.T; W (out, in) is float32, cast at use. What is kept for the backward pass is x, not before(x)."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def __call__(self, x, before=None):
        w = self.weight.astype(x.dtype)
        return linear(x, w) if before is None else mx.checkpoint(lambda x, w: linear(before(x), w))(x, w)


class Embedding(nn.Module):
    """Rows of a table (V, n), cast after the gather: the gradient is added up in float32."""

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def __call__(self, idx, dtype):
        return self.weight[idx].astype(dtype)


def on_gpu():
    return mx.default_device().type == mx.DeviceType.gpu


def exp(x):
    """e**x for x <= 0; on a CPU by arithmetic that vectorizes, a fifth of the time of MLX's own."""
    if on_gpu():
        return mx.exp(x)
    x = mx.maximum(x * 1.4426950408889634, -127.0)
    n = x + 12582912.0  # + 1.5 * 2**23: the low bits hold x, rounded
    f = x - (n - 12582912.0)
    p = 1.54035e-4
    for c in (1.3333558e-3, 9.6181291e-3, 5.5504109e-2, 0.24022651, 0.69314718, 1.0):
        p = p * f + c  # 2**f
    return p * mx.view((mx.view(n, mx.int32) << 23) + (127 << 23), mx.float32)  # times 2**n


def attend(q, k, v, window):
    """Softmax over 0 <= i - j <= window, in memory linear in T: q (B, H, T, D), k and v (B, H_kv, T, D)."""
    T, scale = q.shape[2], q.shape[3] ** -0.5
    if on_gpu() and window >= T - 1:
        return mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask="causal")
    k, v = (mx.repeat(x, q.shape[1] // x.shape[1], axis=1) for x in (k, v))
    blocks = [(slice(s, s + QUERY_BLOCK), slice(max(0, s - window), s + QUERY_BLOCK)) for s in range(0, T, QUERY_BLOCK)]

    def scores(q, k):
        n, m = q.shape[2], k.shape[2]  # the last n of m positions
        distance = mx.arange(m - n, m)[:, None] - mx.arange(m)
        hidden = (distance < 0) | (distance > window)
        return (q @ k.swapaxes(-1, -2)).astype(mx.float32) - 1e30 * hidden

    # Blocks of queries one after the other; the backward pass computes their weights again.
    @mx.custom_function
    def in_blocks(q, k, v):
        ys, norms = [], []
        for queries, keys in blocks:
            s = scores(mx.depends(q[:, :, queries], ys[-1:]), k[:, :, keys])
            top = s.max(axis=-1, keepdims=True)
            p = exp(s - top)
            total = p.sum(axis=-1, keepdims=True)
            ys.append((p.astype(v.dtype) @ v[:, :, keys] / total).astype(v.dtype))
            norms.append(top + mx.log(total))
        return mx.concatenate(ys, axis=2), mx.concatenate(norms, axis=2)

    @in_blocks.vjp
    def in_blocks_vjp(primals, gradients, outputs):
        (q, k, v), (dy, _), (_, norms) = primals, gradients, outputs
        dq, dk, dv = [], mx.zeros_like(k), mx.zeros_like(v)
        for queries, keys in blocks:
            q_block, dy_block = mx.depends(q[:, :, queries], [*dq[-1:], dk, dv]), dy[:, :, queries]
            p = exp(scores(q_block, k[:, :, keys]) - norms[:, :, queries])
            pdp = p * (dy_block @ v[:, :, keys].swapaxes(-1, -2))
            ds = (pdp - p * pdp.sum(axis=-1, keepdims=True)).astype(q.dtype)
            dq.append(ds @ k[:, :, keys])
            dk = dk.at[:, :, keys].add(ds.swapaxes(-1, -2) @ q_block)
            dv = dv.at[:, :, keys].add(p.astype(q.dtype).swapaxes(-1, -2) @ dy_block)
        return mx.concatenate(dq, axis=2), dk, dv

    return in_blocks(scale * q, k, v)[0]


class Attention(nn.Module):
    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        C, H, H_kv = config.n_embd, config.n_head, config.n_kv_head
        self.n_head, self.n_kv_head, self.window = H, H_kv, config.windows[layer]
        self.c_q = Linear(uniform((C, C), C))
        self.c_k = Linear(uniform((C // H * H_kv, C), C))
        self.c_v = Linear(uniform((C // H * H_kv, C), C))
        self.c_proj = Linear(mx.zeros((C, C)))
        if config.has_value_embed(layer):
            self.ve_gate = Linear(mx.zeros((H_kv, min(C, GATE_CHANNELS))))

    def __call__(self, x, ve):
        B, T, _ = x.shape
        q = self.c_q(x).reshape(B, T, self.n_head, -1).transpose(0, 2, 1, 3)  # (B, H, T, D)
        k = self.c_k(x).reshape(B, T, self.n_kv_head, -1).transpose(0, 2, 1, 3)  # (B, H_kv, T, D)
        v = self.c_v(x).reshape(B, T, self.n_kv_head, -1)  # (B, T, H_kv, D)
        if ve is not None:
            gate = 2 * mx.sigmoid(self.ve_gate(x[..., :GATE_CHANNELS]))  # (B, T, H_kv)
            v = v + gate[..., None] * ve.reshape(v.shape)
        q, k = norm(rotate(q)), norm(rotate(k))
        y = attend(q, k, v.transpose(0, 2, 1, 3), self.window)
        return self.c_proj(y.transpose(0, 2, 1, 3).reshape(B, T, -1))


class MLP(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        C, hidden = config.n_embd, round(MLP_RATIO * config.n_embd)
        self.c_fc = Linear(uniform((hidden, C), C))
        self.c_proj = Linear(mx.zeros((C, hidden)))

    def __call__(self, x):
        return self.c_proj(self.c_fc(x, norm), relu_squared)


class Block(nn.Module):
    def __init__(self, config: GPTConfig, layer: int):
        super().__init__()
        self.attn = Attention(config, layer)
        self.mlp = MLP(config)

    def __call__(self, x, x0, resid_lambda, x0_lambda, ve):
        # The lambdas are float32; without the cast so would be the residual stream.
        x = (resid_lambda * x + x0_lambda * x0).astype(x0.dtype)
        x = x + self.attn(norm(x), ve)
        return x + self.mlp(x)


@mx.custom_function
def softcap(x):
    return LOGIT_SOFTCAP * mx.tanh(x / LOGIT_SOFTCAP)


@softcap.vjp
def softcap_vjp(x, dy, y):
    return dy * (1 - mx.square(y / LOGIT_SOFTCAP))  # from the output: the input need not be kept


class GPT(nn.Module):
    def __init__(self, config: GPTConfig):
        super().__init__()
        C, V, L = config.n_embd, config.vocab_size, config.n_layer
        kv_channels = config.n_kv_head * (C // config.n_head)
        self.config = config
        self.wte = Embedding(mx.random.normal((V, C)))
        self.h = [Block(config, i) for i in range(L)]
        self.lm_head = Linear(HEAD_INIT_STD * mx.random.normal((V, C)))
        self.resid_lambdas = mx.ones((L,))
        self.x0_lambdas = mx.full((L,), X0_LAMBDA_INIT)
        # "l3": MLX turns dictionaries keyed by digits into lists.
        layers = [i for i in range(L) if config.has_value_embed(i)]
        self.value_embeds = {f"l{i}": Embedding(uniform((V, kv_channels), C)) for i in layers}

    def __call__(self, idx):
        """(B, T) tokens -> (B, T, V) float32 logits."""
        dtype = self.config.dtype
        x = x0 = norm(self.wte(idx, dtype))  # (B, T, C)
        resid_lambdas, x0_lambdas = (mx.split(a, len(self.h)) for a in (self.resid_lambdas, self.x0_lambdas))
        for i, block in enumerate(self.h):
            table = self.value_embeds.get(f"l{i}")
            x = block(x, x0, resid_lambdas[i], x0_lambdas[i], None if table is None else table(idx, dtype))
        return softcap(self.lm_head(x, norm).astype(mx.float32))

    def flops_per_token(self) -> float:
        """Of training: 6 a weight of a matrix, 12 C a visible position of a layer."""
        matrices = sum(p.size for path, p in tree_flatten(self.parameters()) if is_matrix(path, p))
        visible = sum(min(window, self.config.sequence_len) for window in self.config.windows)
        return 6 * (matrices + self.lm_head.weight.size) + 12 * self.config.n_embd * visible


# --- optimizer ---

# Polar Express (arXiv:2505.16932): coefficients of steps that drive singular values to 1.
POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)


def is_matrix(path: str, p: mx.array) -> bool:
    return path.startswith("h.") and p.ndim == 2


def frobenius(x):
    return mx.sqrt(mx.square(x).sum(axis=(-2, -1), keepdims=True))


def orthogonalize(X):
    """(n, rows, cols) -> the nearest matrices whose singular values are about 1."""
    X = X / (1.02 * frobenius(X) + 1e-6)
    tall = X.shape[-2] > X.shape[-1]
    for a, b, c in POLAR_EXPRESS[:NS_STEPS]:
        A = X.swapaxes(-1, -2) @ X if tall else X @ X.swapaxes(-1, -2)
        B = mx.addmm(A, A, A, alpha=c, beta=b)
        X = mx.addmm(X, X, B, beta=a) if tall else mx.addmm(X, B, X, beta=a)
    return X


def even_out(X, second):
    """NorMuon: rows (columns, where wide) over their running root mean square, at the same norm."""
    mean_square = mx.square(X).mean(axis=-1 if X.shape[-2] >= X.shape[-1] else -2, keepdims=True)
    second = second + (1 - MUON_BETA2) * (mean_square - second)
    scaled = X * mx.rsqrt(mx.maximum(second, 1e-10))
    return scaled * (frobenius(X) / mx.maximum(frobenius(scaled), 1e-10)), second


class MuonAdamW:
    """Muon for the layers' matrices, AdamW for the rest. `state` is arrays alone: a compiled step freezes numbers."""

    def __init__(self, model: GPT):
        scale = (model.config.n_embd / 768) ** -0.5
        self.rules = {  # AdamW's learning rate and betas by the first part of a path
            "wte": (EMBEDDING_LR * scale, ADAM_BETAS),
            "value_embeds": (EMBEDDING_LR * scale, ADAM_BETAS),
            "resid_lambdas": (SCALAR_LR * 0.01, ADAM_BETAS),
            "x0_lambdas": (SCALAR_LR, X0_BETAS),
        }
        self.other = (UNEMBEDDING_LR * scale, ADAM_BETAS)  # lm_head, and whatever is added
        self.stacks = {}  # name -> paths of matrices of one shape
        for path, p in tree_flatten(model.parameters()):
            if is_matrix(path, p):
                self.stacks.setdefault(f"{p.shape}" if STACK_MATRICES else path, []).append(path)
        self.state = {}
        self.reset(model)

    def reset(self, model: GPT):
        """Forgets every step, in place: a compiled step holds on to `state`."""
        params = dict(tree_flatten(model.parameters()))
        self.state["step"] = mx.array(0.0)
        for path, p in params.items():
            if not is_matrix(path, p):
                self.state[path] = [mx.zeros_like(p), mx.zeros_like(p)]
        for name, paths in self.stacks.items():
            n, (rows, cols) = len(paths), params[paths[0]].shape
            second = (n, rows, 1) if rows >= cols else (n, 1, cols)
            self.state[name] = [mx.zeros((n, rows, cols)), mx.zeros(second)]

    def update(self, model: GPT, gradients: dict, hyper: mx.array):
        lr_scale, momentum, decay = hyper[0], hyper[1], hyper[2]  # of hyperparameters()
        self.state["step"] = self.state["step"] + 1
        params, gradients = dict(tree_flatten(model.parameters())), dict(tree_flatten(gradients))
        for path, p in params.items():
            if not is_matrix(path, p):
                lr, betas = self.rules.get(path.split(".")[0], self.other)
                params[path] = self.adamw(path, p, gradients[path], lr_scale * lr, betas)
        for name, paths in self.stacks.items():
            p, g = mx.stack([params[path] for path in paths]), mx.stack([gradients[path] for path in paths])
            lr = lr_scale * (MATRIX_LR * max(1, p.shape[1] / p.shape[2]) ** 0.5)
            params.update(zip(paths, self.muon(name, p, g, lr, momentum, decay), strict=True))
        model.update(tree_unflatten(list(params.items())))

    def adamw(self, path, p, g, lr, betas):
        m, v = self.state[path]
        m = m + (1 - betas[0]) * (g - m)
        v = v + (1 - betas[1]) * (mx.square(g) - v)
        self.state[path] = [m, v]
        step = self.state["step"]
        m_hat, v_hat = m / (1 - betas[0] ** step), v / (1 - betas[1] ** step)
        return p - lr * m_hat / (mx.sqrt(v_hat) + ADAM_EPS)

    def muon(self, name, p, g, lr, momentum, decay):
        buffer, second = self.state[name]
        buffer = buffer + (1 - momentum) * (g - buffer)
        g = g + momentum * (buffer - g)  # Nesterov
        g, second = even_out(orthogonalize(g), second)
        self.state[name] = [buffer, second]
        return p - lr * g - lr * decay * p * (g * p >= 0)  # cautious: decay only where the step shrinks p too


# --- schedules ---


def lr_scale(progress: float) -> float:
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress <= 1 - WARMDOWN_RATIO:
        return 1.0
    left = max(0.0, 1 - progress) / WARMDOWN_RATIO
    return left + (1 - left) * FINAL_LR_FRAC


def hyperparameters(progress: float, step: int) -> mx.array:
    """Learning-rate scale, Muon's momentum, weight decay. As Python floats they would trace the step anew each time."""
    share = min(1.0, step / max(1, MUON_MOMENTUM_STEPS))
    momentum = (1 - share) * MUON_MOMENTUM_START + share * MUON_MOMENTUM
    return mx.array([lr_scale(progress), momentum, WEIGHT_DECAY * (1 - progress)])


# --- what the harness calls ---


def build_model(task: prepare.Task) -> GPT:
    if min(DEPTH, ASPECT_RATIO, HEADS_PER_KV, HEAD_DIM) < 1 or HEAD_DIM % 2:
        raise ValueError(f"{DEPTH=}, {ASPECT_RATIO=}, {HEADS_PER_KV=} and {HEAD_DIM=} (even) must be positive")
    if min(TOTAL_BATCH_SIZE, DEVICE_BATCH_SIZE, TRAIN_ROW_PIECES) < 1:
        raise ValueError(f"{TOTAL_BATCH_SIZE=}, {DEVICE_BATCH_SIZE=}, {TRAIN_ROW_PIECES=} must be positive")
    if COMPUTE_DTYPE not in ("bfloat16", "float32"):
        raise ValueError(f"{COMPUTE_DTYPE=} must be 'bfloat16' or 'float32'")
    n_head = math.ceil(DEPTH * ASPECT_RATIO / HEAD_DIM)
    n_kv_head = n_head // math.gcd(n_head, HEADS_PER_KV)
    dtype = mx.bfloat16 if on_gpu() and COMPUTE_DTYPE == "bfloat16" else mx.float32
    sizes = DEPTH, n_head, n_kv_head, n_head * HEAD_DIM
    return GPT(GPTConfig(task.seq_len, task.vocab_size, *sizes, WINDOW_PATTERN, dtype))


def batch_shape(seq_len: int) -> tuple[int, int]:
    """Rows of a micro-batch, micro-batches a step: 4096 tokens, 16 rows of 128 at once -> (16, 2), on a CPU (8, 4)."""
    rows = max(1, round(TOTAL_BATCH_SIZE / seq_len))
    micro_batches = min(rows, math.ceil(rows / DEVICE_BATCH_SIZE) * (1 if on_gpu() else CPU_STREAMS))
    return round(rows / micro_batches), micro_batches


def compiled_step(model: GPT, optimizer: MuonAdamW):
    """A step as one compiled graph: (micro-batches [(x, y), ...], hyper) -> mean loss."""
    state = [model.state, optimizer.state]
    queues = [mx.default_stream(mx.gpu)] if on_gpu() else [mx.new_stream(mx.cpu) for _ in range(CPU_STREAMS)]
    loss_and_grad = nn.value_and_grad(model, lambda model, x, y: prepare.cross_entropy(model(x), y))

    def step(batches, hyper):
        totals = []  # loss and gradients of each queue
        for i, (x, y) in enumerate(batches):
            with mx.stream(queues[i % len(queues)]):
                if i < len(queues):
                    totals.append(loss_and_grad(model, x, y))
                    continue
                # Wait for the queue's gradients so far: its activations are one micro-batch's.
                total = totals[i % len(queues)]
                x = mx.depends(x, [a for _, a in tree_flatten(total)])
                totals[i % len(queues)] = tree_map(mx.add, total, loss_and_grad(model, x, y))
        loss, gradients = tree_map(lambda *parts: sum(parts) / len(batches), *totals)
        optimizer.update(model, gradients, hyper)
        return loss

    return mx.compile(step, inputs=state, outputs=state)


def warm_up(step, model, optimizer, run, rows, seq_len, micro_batches):
    """Steps on random tokens, before the clock, that compile everything (a GPU traces twice); they are undone."""
    initial = model.parameters()
    for _ in range(2 if on_gpu() else 1):
        batches = [run.warmup_batch(rows, seq_len)] * micro_batches
        mx.eval(step(batches, hyperparameters(0.0, 0)), model.state, optimizer.state)
    model.update(initial)
    optimizer.reset(model)
    mx.eval(model.state, optimizer.state)


def train(model: GPT, run: prepare.Run) -> None:
    seq_len = max(1, run.task.seq_len // TRAIN_ROW_PIECES)
    rows, micro_batches = batch_shape(seq_len)
    optimizer = MuonAdamW(model)
    train_step = compiled_step(model, optimizer)
    warm_up(train_step, model, optimizer, run, rows, seq_len, micro_batches)

    stream = iter(run.batches(rows, seq_len))
    previous = None
    for step, batches in enumerate(zip(*[stream] * micro_batches, strict=False)):
        loss = train_step(batches, hyperparameters(run.progress, step))
        mx.async_eval(loss, model.state, optimizer.state)
        # The previous loss is the one thing to wait for: the machine always has a step queued.
        if previous is not None:
            run.log(step - 1, previous)
        previous = loss
    if previous is not None:
        run.log(step, previous)


if __name__ == "__main__":
    raise SystemExit(prepare.main(build_model, train))
