"""One library's VAE of binary images, trained on one core; leaves its weights, prints its times.

python images_worker.py LIBRARY IMAGES.npz WEIGHTS.npz SETTINGS

A script, not a module: it runs in the interpreter that has the library. SETTINGS is JSON: widths of
the encoder's hidden layers, latent_dim, num_steps, batch_size, learning_rate, seed. Both libraries
have the same networks, ReLU between linear layers, the bound by one draw a row, Adam, and a rate
that warms up for 100 steps and decays to 0 by a cosine. Seconds are of CPU, from the first 200
steps on, which compile.
"""

import json
import math
import sys
import time

import numpy as np

FIRST_STEPS = 200
MAX_LOG_SCALE = 5.0
"""Of q(z|x), on either side."""


def train_ours(x, settings):
    """Return weights by name, and the seconds and the number of steps that they took."""
    import jax

    from experiments.benchmark import images
    from mnar_ebm.models import without_tilt
    from mnar_ebm.tilted import fitted as fits
    from mnar_ebm.tilted import stages
    from mnar_ebm.training import pad_rows, run_stages
    from mnar_ebm.training.loop import stage_keys

    fitted = images.untrained(settings)
    rows, none = (pad_rows(fits.make_batch(fitted, part)) for part in (x, x[:0]))
    loop = stages.make_loop(fitted.config)
    plan = stages.make_stages(fitted.config, without_tilt(fitted.model))
    keys = stage_keys(jax.random.key(settings["seed"]), len(plan))
    started, seconds, steps = None, 0.0, 0
    for now in run_stages(loop, plan, fitted.params, rows, none, keys):
        if started is not None and not now.is_end:
            seconds, steps = time.process_time() - started, now.record["step"] - FIRST_STEPS
        started = time.process_time() if started is None else started
        params = jax.tree.map(np.asarray, now.params)
    return images.to_weights(params.base), seconds, steps


def train_torch(x, settings):
    """Return weights by name, and the seconds and the number of steps that they took."""
    import torch
    from torch import nn

    torch.manual_seed(settings["seed"])
    torch.set_num_threads(1)
    rows = torch.from_numpy(x.astype(np.float32))
    widths, latent_dim = settings["widths"], settings["latent_dim"]

    def hidden(sizes):
        layers = [nn.Linear(*pair) for pair in zip(sizes, sizes[1:], strict=False)]
        return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))

    parts = {
        "encoder": hidden([x.shape[1], *widths]),
        "loc": nn.Linear(widths[-1], latent_dim),
        "log_scale": nn.Linear(widths[-1], latent_dim),
        "decoder": hidden([latent_dim, *widths[::-1]]),
        "out": nn.Linear(widths[0], x.shape[1]),
    }
    model = nn.ModuleDict(parts)
    adam = torch.optim.Adam(model.parameters(), lr=settings["learning_rate"])
    num_steps, warm_up = settings["num_steps"], min(100, settings["num_steps"] // 10)

    def rate(step):
        if step < warm_up:
            return step / max(warm_up, 1)
        return 0.5 * (1.0 + math.cos(math.pi * (step - warm_up) / max(num_steps - warm_up, 1)))

    schedule = torch.optim.lr_scheduler.LambdaLR(adam, rate)
    reconstruct = nn.BCEWithLogitsLoss(reduction="sum")
    started = time.process_time()
    order, at, size = torch.randperm(len(rows)), 0, settings["batch_size"]
    for step in range(num_steps):
        if step == FIRST_STEPS:
            started = time.process_time()
        if at + size > len(rows):
            order, at = torch.randperm(len(rows)), 0
        batch = rows[order[at : at + size]]
        at += size
        features = parts["encoder"](batch)
        loc = parts["loc"](features)
        log_scale = parts["log_scale"](features).clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE)
        z = loc + log_scale.exp() * torch.randn_like(loc)
        divergence = 0.5 * (loc**2 + (2 * log_scale).exp() - 1.0 - 2.0 * log_scale).sum()
        logits = parts["out"](parts["decoder"](z))
        loss = (reconstruct(logits, batch) + divergence) / size
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        schedule.step()
    seconds = time.process_time() - started
    weights = {
        f"{name}_{number}_{what}": value.detach().numpy().T
        for name, module in parts.items()
        for number, layer in enumerate(one for one in module.modules() if hasattr(one, "weight"))
        for what, value in (("kernel", layer.weight), ("bias", layer.bias))
    }
    return weights, seconds, num_steps - FIRST_STEPS


def main(library, images, weights, settings):
    """Train, leave the weights, and say how long it took."""
    settings = json.loads(settings)
    if library == "torch":
        import torch as package
    else:
        import mnar_ebm as package
    train = {"torch": train_torch, "mnar_ebm": train_ours}[library]
    found, seconds, steps = train(np.load(images)["train"], settings)
    np.savez(weights, **found)
    told = {"version": package.__version__, "train_cpu_seconds": seconds, "timed_steps": steps}
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])
