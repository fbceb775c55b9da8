"""All settings of a run, in groups: what the flags fill in and a checkpoint keeps.

Settings have names of their own, whatever their group: they are told flat, as flags are, and read
in their groups. A function is given the group that it reads.

>>> config = Config(tilt="none", latent_dim=3)
>>> config.model.latent_dim, config.optimisation.num_steps
(3, 6000)
"""

import dataclasses
import warnings
from typing import Any

from mnar_ebm import settings
from mnar_ebm._settings import check_settings, setting
from mnar_ebm.likelihoods import DISCRETE
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.negative_phases import check_goes_with
from mnar_ebm.settings import (
    STANDARDISERS,
    ModelSettings,
    NegativeSettings,
    Optimisation,
    UnbiasedSettings,
)


@dataclasses.dataclass(frozen=True, init=False)
class Config:
    """Settings of model, training and evaluation, in groups; ``Config()`` is ``latent.cfg``.

    Args:
        model, optimisation, negatives, unbiased: whole groups.
        **settings: single settings, whatever their group, which override those of the groups.

    Raises:
        TypeError: a setting is unknown, or of another type.
        ValueError: a setting may not be as it is; the message says what is expected.
    """

    model: ModelSettings = ModelSettings()
    optimisation: Optimisation = Optimisation()
    negatives: NegativeSettings = NegativeSettings()
    unbiased: UnbiasedSettings = UnbiasedSettings()
    standardise: str = setting(
        "observed",
        "Bring columns to mean 0 and sd 1 over observed cells; yeo_johnson: bend those of three "
        "values or more to normal, too, under a mechanism that reads no hidden value, for beside "
        "others it follows the cut that they make; none: take them as they are.",
        choices=STANDARDISERS,
    )
    num_imputation_samples: int = setting(
        5000, "Importance samples K for each row of the final bound and imputation.", at_least=1
    )
    seed: int = setting(0, "Seed of everything random.", between=(0, 2**32 - 1))

    def __init__(
        self,
        model: ModelSettings = model,
        optimisation: Optimisation = optimisation,
        negatives: NegativeSettings = negatives,
        unbiased: UnbiasedSettings = unbiased,
        **settings: Any,
    ):
        """Put every setting into its group."""
        groups: dict[str, Any] = {
            "model": model,
            "optimisation": optimisation,
            "negatives": negatives,
            "unbiased": unbiased,
        }
        known = settings_by_group()
        for name in settings:
            if name not in known:
                raise TypeError(f"Config: expected some of {', '.join(known)}, got {name!r}")
        for group, value in groups.items():
            if not isinstance(value, _GROUPS[group]):
                raise TypeError(
                    f"{group}: expected {_GROUPS[group].__name__}, got {type(value).__name__}; "
                    "Config.flat gives single settings"
                )
            own = {name: told for name, told in settings.items() if known[name][0] == group}
            object.__setattr__(self, group, dataclasses.replace(value, **own))
        for name, (group, field) in known.items():
            if not group:
                object.__setattr__(self, name, settings.get(name, field.default))
        self._check()

    def _check(self) -> None:
        """Check what is in no group, and what goes together across groups."""
        check_settings(self, [field for group, field in settings_by_group().values() if not group])
        tilt = self.model.tilt
        if self.optimisation.validation_fraction == 0 and tilt != "none":
            raise ValueError(
                "validation_fraction: expected above 0 with a tilt, whose scale is chosen on "
                "held-out rows, got 0"
            )
        likelihood = self.model.likelihood
        check_goes_with(
            self.negatives.negative_phase,
            tilt,
            likelihood in DISCRETE,
            f"under likelihood {likelihood}, whose values are discrete",
        )
        is_inverted = self.negatives.chain_start == "data" and tilt in ("data", "joint")
        if is_inverted and likelihood != "gaussian":
            raise ValueError(
                f"chain_start: expected base for the {tilt} tilt under likelihood "
                f"{likelihood}, whose noise a value does not tell, got 'data'"
            )

    def replace(self, **settings: Any) -> "Config":
        """Return a config in which some settings are others, checked as any."""
        return dataclasses.replace(self, **settings)

    def flat(self) -> dict[str, Any]:
        """Return every setting by its name, as flags and checkpoints have them."""
        return {
            name: getattr(getattr(self, group) if group else self, name)
            for name, (group, _) in settings_by_group().items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Read a pickle; those of before there were groups are flat."""
        Config.__init__(self, **state)

    def __getattr__(self, name: str) -> Any:
        """Return a setting by its name alone, as it was read before there were groups."""
        group = "model" if name == "hides_itself" else settings_by_group().get(name, ("",))[0]
        if not group:
            raise AttributeError(f"'Config' object has no attribute {name!r}")
        warnings.warn(
            f"mnar_ebm.Config.{name} has moved to .{group}.{name}", DeprecationWarning, stacklevel=2
        )
        return getattr(getattr(self, group), name)


_GROUPS: dict[str, Any] = {
    "model": ModelSettings,
    "optimisation": Optimisation,
    "negatives": NegativeSettings,
    "unbiased": UnbiasedSettings,
}


def settings_by_group() -> dict[str, tuple[str, dataclasses.Field[Any]]]:
    """Return the group of each setting, empty if it has none, and its field, by name."""
    found = {
        field.name: (group, field)
        for group, kind in _GROUPS.items()
        for field in dataclasses.fields(kind)
    }
    own = [field for field in dataclasses.fields(Config) if field.name not in _GROUPS]
    return found | {field.name: ("", field) for field in own}


def __getattr__(name: str) -> Any:
    """Return what was in this module before there were groups: names of mechanisms, tilts, ..."""
    if name == "IGNORABLE":
        found = tuple(one for one, entry in MECHANISMS.items() if not entry.reads_hidden)
    elif name.isupper() and hasattr(settings, name):
        found = getattr(settings, name)
    else:
        raise AttributeError(f"module 'mnar_ebm.config' has no attribute {name!r}")
    warnings.warn(
        f"mnar_ebm.config.{name} has moved to mnar_ebm.settings", DeprecationWarning, stacklevel=2
    )
    return found
