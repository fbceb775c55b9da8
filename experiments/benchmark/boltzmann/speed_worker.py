"""One library's Gibbs sweeps and training steps, timed on one core; prints a line of JSON.

python speed_worker.py LIBRARY WHAT NUM_VISIBLE NUM_HIDDEN NUM_CHAINS NUM_STEPS

A script, not a module: it runs in the interpreter that has the library. WHAT is ``law``, draws of a
machine of 5 x 3 units against its enumeration; ``sweeps``, chains times sweeps a second of CPU; or
``training``, rows a second of CPU, of PCD-1 by plain gradient steps with batches of 100 rows. Times
are the least of five, after a first call that compiles.
"""

import itertools
import json
import sys
import time

import numpy as np

NUM_REPEATS, BATCH_SIZE, RATE = 5, 100, 0.01


def parameters(num_visible, num_hidden, scale):
    """Return b, c and W, the same for all libraries, in float32."""
    rng = np.random.default_rng(0)
    parts = rng.normal(size=num_visible), rng.normal(size=num_hidden)
    parts += (scale * rng.normal(size=(num_visible, num_hidden)),)
    return [part.astype(np.float32) for part in parts]


def images(num_visible):
    """Return rows of bits to train on."""
    rng = np.random.default_rng(1)
    return (rng.random((20_000, num_visible)) < rng.random(num_visible)).astype(np.float32)


def least_seconds(run):
    """Return seconds of CPU of the fastest of five calls, after one that is not counted."""
    run()
    seconds = []
    for _ in range(NUM_REPEATS):
        started = time.process_time()
        run()
        seconds.append(time.process_time() - started)
    return min(seconds)


class Ours:
    """The package: sweeps as one compiled loop, training through the engine."""

    def __init__(self):
        """Import it."""
        import jax

        import mnar_ebm

        self.jax, self.version = jax, mnar_ebm.__version__

    def sweeper(self, parts, num_chains, num_sweeps):
        """Return what makes so many sweeps of chains, from where all units are off."""
        from mnar_ebm.boltzmann import RBM, rbm

        jax, one = self.jax, RBM(*parts)
        start = jax.numpy.zeros((num_chains, len(parts[0])))
        run = jax.jit(lambda key, one: rbm.gibbs(key, one, start, num_sweeps))
        keys = iter(jax.random.split(jax.random.key(0), 100))
        return lambda: np.asarray(run(next(keys), one))

    def train_seconds(self, rows, num_hidden, num_chains):
        """Return seconds of CPU of 200 steps, a chunk of the engine."""
        from mnar_ebm import boltzmann
        from mnar_ebm.boltzmann import rbm
        from mnar_ebm.training import Loop, Pace, pad_rows, run_stages

        jax = self.jax
        rows = jax.numpy.asarray(rows)
        start = rbm.init_at(jax.random.key(0), rows, num_hidden)
        settings = boltzmann.ChainSettings("pcd", num_chains, momentum=0.0)
        pace = Pace(200 * (NUM_REPEATS + 1), RATE)
        stage = boltzmann.make_stage(settings, pace, rows.mean(axis=0))
        keys = [tuple(jax.random.split(jax.random.key(1)))]
        loop, seconds, started = Loop(BATCH_SIZE), [], None
        for now in run_stages(loop, [stage], start, pad_rows(rows), pad_rows(rows[:0]), keys):
            if started is not None and not now.is_end:
                seconds.append(time.process_time() - started)
            started = time.process_time()
        return min(seconds), 200


class Thrml:
    """Blocks of spins s, with v = (1 + s) / 2: biases b/2 + Σ W/4, couplings W/4."""

    def __init__(self):
        """Import it."""
        import importlib.metadata

        import jax
        import thrml  # noqa: F401

        self.jax, self.version = jax, importlib.metadata.version("thrml")

    def sweeper(self, parts, num_chains, num_sweeps):
        """Return what makes so many sweeps of chains."""
        from thrml import Block, SamplingSchedule, SpinNode, sample_states
        from thrml.models import IsingEBM, IsingSamplingProgram, hinton_init

        jax, (b, c, w) = self.jax, parts
        visible, hidden = ([SpinNode() for _ in part] for part in (b, c))
        edges = list(itertools.product(visible, hidden))
        biases = np.concatenate([b / 2 + w.sum(axis=1) / 4, c / 2 + w.sum(axis=0) / 4])
        numbers = map(jax.numpy.asarray, (biases, w.ravel() / 4))
        model = IsingEBM(visible + hidden, edges, *numbers, jax.numpy.array(1.0))
        blocks = [Block(hidden), Block(visible)]
        program = IsingSamplingProgram(model, blocks, clamped_blocks=[])
        schedule = SamplingSchedule(n_warmup=num_sweeps - 1, n_samples=1, steps_per_sample=1)
        start = hinton_init(jax.random.key(0), model, blocks, (num_chains,))

        def chain(key, start):
            return sample_states(key, program, schedule, start, [], [Block(visible)])[0][-1]

        run = jax.jit(jax.vmap(chain))
        keys = iter(jax.random.split(jax.random.key(1), (100, num_chains)))
        return lambda: np.asarray(run(next(keys), start)).astype(np.float32)


class Rbms:
    """PyTorch on one thread, the package's own chains and gradients."""

    def __init__(self):
        """Import it."""
        import importlib.metadata

        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.torch, self.version = torch, importlib.metadata.version("rbms")

    def make(self, parts):
        """Return its machine."""
        from rbms.bernoulli_bernoulli.classes import BBRBM

        b, c, w = map(self.torch.from_numpy, parts)
        return BBRBM(weight_matrix=w, vbias=b, hbias=c)

    def sweeper(self, parts, num_chains, num_sweeps):
        """Return what makes so many sweeps of chains."""
        machine = self.make(parts)

        def run():
            chains = machine.init_chains(num_chains)
            return machine.sample_state(chains=chains, n_steps=num_sweeps)["visible"].numpy()

        return run

    def train_seconds(self, rows, num_hidden, num_chains):
        """Return seconds of CPU of 200 steps, as in its own loop of training."""
        from rbms.sampler.pcd import PCD

        torch = self.torch
        machine = self.make(parameters(rows.shape[1], num_hidden, 0.01))
        data = torch.from_numpy(rows)
        sampler = PCD(machine, machine.init_chains(num_chains), num_steps=1)
        optimiser = torch.optim.SGD(machine.parameters(), lr=RATE, maximize=True)

        def run():
            for _ in range(200):
                batch = data[torch.randint(len(data), (BATCH_SIZE,))]
                optimiser.zero_grad(set_to_none=False)
                of_batch = machine.init_chains(num_samples=BATCH_SIZE, start_v=batch)
                chains = sampler.get_conf_grad(batch=batch)
                machine.compute_gradient(data=of_batch, chains=chains, centered=True)
                optimiser.step()
                sampler.post_grad_update(params=machine)

        return least_seconds(run), 200


class Sklearn:
    """scikit-learn's BernoulliRBM, in float32."""

    def __init__(self):
        """Import it."""
        import sklearn

        self.version = sklearn.__version__

    def make(self, num_hidden, num_iterations=1):
        """Return its machine."""
        from sklearn.neural_network import BernoulliRBM

        return BernoulliRBM(
            num_hidden,
            learning_rate=RATE,
            batch_size=BATCH_SIZE,
            n_iter=num_iterations,
            random_state=np.random.RandomState(0),
        )

    def sweeper(self, parts, num_chains, num_sweeps):
        """Return what makes so many sweeps of chains."""
        machine = self.make(len(parts[1])).fit(np.zeros((2, len(parts[0])), np.float32))
        machine.intercept_visible_, machine.intercept_hidden_, w = parts
        machine.components_ = np.ascontiguousarray(w.T)

        def run():
            v = np.zeros((num_chains, len(parts[0])), np.float32)
            for _ in range(num_sweeps):
                v = machine.gibbs(v).astype(np.float32)
            return v

        return run

    def train_seconds(self, rows, num_hidden, num_chains):
        """Return seconds of CPU of 200 steps; it has a chain for each row of a batch."""
        machine = self.make(num_hidden)
        return least_seconds(lambda: machine.fit(rows[: 200 * BATCH_SIZE])), 200


LIBRARIES = {"mnar_ebm": Ours, "thrml": Thrml, "rbms": Rbms, "scikit-learn": Sklearn}


def law_p_value(library):
    """Return the p-value of 20,000 ends of chains of 5 x 3 units against enumeration."""
    from scipy import special, stats

    b, c, w = parameters(5, 3, 1.0)
    states = np.array(list(itertools.product([0.0, 1.0], repeat=5)))
    p = special.softmax(states @ b + np.logaddexp(0, c + states @ w).sum(axis=1))
    v = library.sweeper([b, c, w], 20_000, 50)()
    seen = np.bincount((v @ 2.0 ** np.arange(5)[::-1]).astype(int), minlength=32)
    return float(stats.chisquare(seen, 20_000 * p).pvalue)


def main(name, what, num_visible, num_hidden, num_chains, num_steps):
    """Print what was asked for."""
    library = LIBRARIES[name]()
    if what == "law":
        found = {"p_value": law_p_value(library)}
    elif what == "sweeps":
        parts = parameters(num_visible, num_hidden, 0.1)
        seconds = least_seconds(library.sweeper(parts, num_chains, num_steps))
        found = {"rate": num_chains * num_steps / seconds}
    else:
        rows = images(num_visible)
        seconds, num_steps = library.train_seconds(rows, num_hidden, num_chains)
        found = {"rate": BATCH_SIZE * num_steps / seconds}
    print(json.dumps({"version": library.version, **found}))


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:7]))
