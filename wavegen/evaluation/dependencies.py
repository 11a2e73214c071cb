"""The optional packages of evaluation, asked for before the work that needs them."""

import importlib

from wavegen.errors import MissingDependencyError

PURPOSES = {
    "librosa": "pitch tracking",
    "numba": "dynamic time warping",
    "pesq": "wide-band PESQ",
    "pocketsphinx": "speech recognition",
    "pystoi": "eSTOI",
}


def require(*packages: str) -> None:
    """Raise MissingDependencyError, which says how to install it, unless each of the PURPOSES' packages is there."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise MissingDependencyError(package, "evaluate", PURPOSES[package]) from error
