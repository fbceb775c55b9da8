"""What the benchmark of VAEs tells: weights that both libraries share, and the table."""

import json

import numpy as np
import pytest

COMMAND = "benchmark.images"
RECORD = {
    "version": "1.0",
    "bound_standard_error": 0.8,
    "ess_median": 900.0,
    "train_cpu_seconds": 100.0,
    "timed_steps": 19_800,
    "settings": {"steps": 20_000, "num_test": 1000},
}


def record(library, seed, bound, speed):
    """Return a record of one model."""
    own = {"library": library, "seed": seed, "bound": bound, "steps_per_cpu_second": speed}
    return {"job": f"{library} seed {seed}", **own, **RECORD}


def test_weights_go_from_one_model_to_another(load):
    """All of them, by name; those of other networks are refused."""
    command = load(COMMAND)
    command.cli.parse([COMMAND])
    first, second = (command.untrained(command.settings_of(seed)) for seed in (0, 1))
    weights = command.to_weights(first.params.base)
    assert weights["encoder_0_kernel"].shape == (784, 256) and len(weights) == 14
    x = (np.arange(3 * 784).reshape(3, 784) % 3 == 0).astype(float)
    moved = command.with_weights(second, weights)
    np.testing.assert_array_equal(moved.encode(x), first.encode(x))
    z = first.encode(x)[0]
    np.testing.assert_array_equal(moved.decode(z), first.decode(z))
    assert np.any(second.decode(z) != first.decode(z))
    with pytest.raises(ValueError, match=r"out: expected shape \(784,\), got \(3,\)"):
        command.with_weights(second, weights | {"out_0_bias": np.zeros(3)})


def test_the_table_is_that_of_the_records(call, tmp_path):
    """Means over seeds; nothing is run again, and other settings are refused."""
    done = [record("mnar_ebm", 0, -98.0, 200.0), record("torch", 0, -99.0, 100.0)]
    done += [record("mnar_ebm", 1, -100.0, 210.0), record("torch", 1, -98.0, 90.0)]
    (tmp_path / "images.jsonl").write_text("".join(json.dumps(one) + "\n" for one in done))
    args = (COMMAND, f"--workdir={tmp_path}", "--num_seeds=2", "--peers=torch=python")
    said = call(*args)
    assert "| mnar_ebm 1.0 | -99.00 | -98.00, -100.00 | 0.80 | 100 | 205 |" in said.out, said.err
    assert "| torch 1.0 | -98.50 | -99.00, -98.00 | 0.80 | 100 | 95 |" in said.out
    assert "was made with steps=20000, got 400" in call(*args, "--steps=400").err
    assert "--peers: expected torch=PYTHON, got 'jax=x'" in call(COMMAND, "--peers=jax=x").err
