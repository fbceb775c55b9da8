"""Files made by version 0.1.0 load, and answer as they did: tests/made_by_0_1_0."""

import gc
import importlib
import json
import pathlib
import pickle
import shutil
import sys
import warnings

import jax
import numpy as np
import pytest

import mnar_ebm
from mnar_ebm import data, moved

FOLDER = pathlib.Path(__file__).parent / "made_by_0_1_0"


@pytest.fixture(scope="module")
def x():
    """Return the rows that both were fitted to."""
    return np.genfromtxt(FOLDER / "x.csv", delimiter=",", skip_header=1)


def expected(name):
    """Return what was answered then."""
    return json.loads((FOLDER / "expected.json").read_text())[name]


def assert_answers(found, name):
    """Hold that an answer is that of then, to what compilers differ by."""
    np.testing.assert_allclose(found, expected(name), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("default:mnar_ebm.* has moved:DeprecationWarning")
def test_a_pickled_model_answers_as_then(x):
    """Its classes were found elsewhere, and its settings in no groups."""
    fitted = pickle.loads((FOLDER / "fitted.pickle").read_bytes())
    assert fitted.config.model.latent_dim == 2 and fitted.config.model.own_slopes == (1.0, 0.0, 0.0)
    assert_answers(fitted.impute(x, seed=1).mean, "fitted")


@pytest.mark.filterwarnings("default:mnar_ebm.* has moved:DeprecationWarning")
def test_a_pickled_imputer_answers_as_then(x):
    """It transforms, up to the error of its draws, which are fewer now, and tells its report."""
    imputer = pickle.loads((FOLDER / "imputer.pickle").read_bytes())
    found, then = imputer.transform(x), np.asarray(expected("imputer"))
    errors = imputer.sample(x, 100).std(axis=0) * np.sqrt(2 / 150)  # both of at least 150 draws
    np.testing.assert_array_less(np.abs(found - then), 4 * errors + 1e-5)
    np.testing.assert_array_equal(found[~np.isnan(x)], x[~np.isnan(x)])
    assert "selfmasking_probit" in str(imputer.report_) and "MNARImputer" in repr(imputer)


def test_a_run_folder_answers_as_then(x):
    """A finished run loads."""
    assert_answers(mnar_ebm.load(FOLDER / "run").impute(x, seed=1).mean, "fitted")


def test_an_unfinished_run_goes_on(x, tmp_path):
    """From the last checkpoint of its last stage, to the end that it had."""
    folder = tmp_path / "run"
    shutil.copytree(FOLDER / "run", folder)
    shutil.rmtree(folder / "checkpoints" / "63")
    with pytest.raises(ValueError, match="in stage tilt"):
        mnar_ebm.load(folder)
    record = json.loads((FOLDER / "run/checkpoints/61/record/metadata").read_text())
    config = mnar_ebm.Config(**record["content"]["config"])
    table = data.make_table("old", ("a", "b", "c"), x)
    fitted, _ = mnar_ebm.train(config, table, folder, resume=True)
    assert_answers(fitted.impute(x, seed=1).mean, "fitted")


@pytest.mark.parametrize("old, new", moved.MODULES.items())
def test_old_modules_are_found_with_a_warning(old, new):
    """What is found has all that the new one has."""
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {new}"):
        found = importlib.import_module(old)
    real = importlib.import_module(new)
    assert all(getattr(found, name) is getattr(real, name) for name in dir(real) if name[0] != "_")


def test_old_modules_are_found_as_attributes_and_are_no_copies():
    """Of a package that had imported them; what they define is what the new ones define."""
    from mnar_ebm import data, estimator, inference, training

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the first time that each is looked for
        assert training.fitted.make_fitted is mnar_ebm.tilted.make_fitted
        assert training.unbiased.debias is mnar_ebm.debiasing.debias
        assert data.csv.read_csv is data.read_csv
        assert estimator.plot.__name__ == "mnar_ebm.estimator.plot"
        from mnar_ebm.sampling.choice import Samples
        from mnar_ebm.sampling.weights import WeightedSamples
    assert Samples is inference.Samples and WeightedSamples is inference.WeightedSamples
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mnar_ebm.sampling.never_there")


@pytest.mark.parametrize("module", moved.NAMES)
def test_old_names_are_found_with_a_warning(module):
    """Of a name that was never there, the usual error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the module, if that has moved, too
        place = importlib.import_module(module)
    for name, new in moved.NAMES[module].items():
        with pytest.warns(DeprecationWarning, match=f"{name} has moved to {new}"):
            assert getattr(place, name) is getattr(importlib.import_module(new), name)
    with pytest.raises(AttributeError):
        _ = place.never_there


def test_settings_are_found_by_their_names_alone_with_a_warning():
    """As they were before there were groups."""
    config = mnar_ebm.Config(num_steps=7)
    with pytest.warns(DeprecationWarning, match=r"num_steps has moved to \.optimisation"):
        assert config.num_steps == 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert config.seed == 0
    with pytest.raises(AttributeError):
        _ = config.never_there
    assert jax.tree.leaves(config) == [config]  # no pytree: static under jit
    made = mnar_ebm.models.make_model(config, 3, ())  # a whole config, as before
    assert made is mnar_ebm.models.make_model(config.model, 3, ())
    with pytest.warns(DeprecationWarning):
        assert config.hides_itself == ()
        from mnar_ebm.config import IGNORABLE, SLOPES
    assert IGNORABLE == ("none", "mcar", "mar", "ignorable") and SLOPES["high"] == 1.0


def test_a_group_is_what_it_is_said_to_be():
    """Not another one, nor a mapping; what is told flat goes before a group."""
    config = mnar_ebm.Config(tilt="none", seed=3)
    for name, wrong in (("unbiased", config.model), ("model", {"tilt": "none"})):
        with pytest.raises(TypeError, match=f"{name}: expected .*Settings, got "):
            mnar_ebm.Config(**{name: wrong})
    assert mnar_ebm.Config(config.model, latent_dim=4).model.tilt == "none"
    assert mnar_ebm.Config(config.model, latent_dim=4).model.latent_dim == 4
    assert mnar_ebm.Config(**config.flat()) == config


@pytest.mark.filterwarnings("default:mnar_ebm.* has moved:DeprecationWarning")
def test_a_checkpoint_of_another_run_is_told(tmp_path):
    """Whole, but with other settings than the run's own; those that it chooses may differ."""
    folder = tmp_path / "run"
    shutil.copytree(FOLDER / "run", folder)
    config = mnar_ebm.load(folder).config.flat()
    own = [f"--{name}={value}" for name, value in config.items() if not isinstance(value, tuple)]
    own += [f"--{k}={','.join(map(str, v))}" for k, v in config.items() if isinstance(v, tuple)]
    (folder / "run.cfg").write_text("# replays the run\n--dataset=wine\n" + "\n".join(own))
    assert mnar_ebm.load(folder).config.flat() == config
    (folder / "run.cfg").write_text("\n".join(own).replace("--seed=", "--seed=9"))
    with pytest.raises(ValueError, match=r"of another run: it has seed=\d+, and run.cfg seed=9"):
        mnar_ebm.load(folder)


@pytest.mark.filterwarnings("default:mnar_ebm.* has moved:DeprecationWarning")
def test_a_damaged_checkpoint_is_told_in_one_line(tmp_path, capfd, caplog):
    """Nothing is printed beside it, then or later."""
    folder = tmp_path / "run"
    shutil.copytree(FOLDER / "run", folder)
    path = folder / "checkpoints" / "63" / "arrays" / "array_metadatas" / "process_0"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="checkpoint 63 is damaged or of another model") as error:
        mnar_ebm.load(folder)
    gc.collect()
    assert "\n" not in str(error.value) and not capfd.readouterr().err
    assert not [one for one in caplog.records if one.name == "asyncio"]
