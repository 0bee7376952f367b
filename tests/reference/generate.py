"""Write to `fixtures.json` what other programs compute for deterministic clouds.

The tests do not run this script. The script needs a separate environment:
    python -m venv peers
    peers/bin/pip install scikit-dimension torch==2.13.0 tqdm matplotlib IsoScore dimensionality
    peers/bin/pip install --no-deps llm-microscope==0.0.7
    peers/bin/python tests/reference/generate.py
"""

import importlib.metadata
import importlib.util
import json
from pathlib import Path

import dimensionality
import IsoScore.IsoScore as isoscore
import numpy as np
import skdim
import sklearn
import torch
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from helpers.clouds import CLOUDS


def _paper():
    """Return the module of the paper's authors. Importing their whole package would fail."""
    files = importlib.metadata.files("llm-microscope")
    path = next(file for file in files if file.name == "functions.py").locate()
    spec = importlib.util.spec_from_file_location("paper", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAPER = _paper()


def values_of(points):
    """Return all values of a cloud. Before the IDs are computed, repeated rows are removed."""
    unique = np.unique(points, axis=0)
    return {
        **distances(points),
        **dimensions(unique),
        **spectra(points),
        "linearity": PAPER.procrustes_similarity(
            torch.from_numpy(points), torch.from_numpy(np.tanh(points) + points[:, ::-1].copy())
        ),
    }


def distances(points):
    """Return the nearest neighbours of the first five points."""
    search = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(points)
    lengths, indices = search.kneighbors()
    return {"neighbor_distances": lengths[:5].tolist(), "neighbor_indices": indices[:5].tolist()}


def dimensions(points):
    """Return every ID estimate that scikit-dimension or the authors' code computes."""
    gride = skdim.id.GRIDE(multiscale=True, range_max=64).fit(points)
    return {
        "id_twonn": skdim.id.TwoNN(discard_fraction=0.1).fit(points).dimension_,
        "id_twonn_mle": skdim.id.TwoNN(method="mle", discard_fraction=0).fit(points).dimension_,
        "id_twonn_mle_censored": skdim.id.TwoNN(method="mle").fit(points).dimension_,
        "id_mle": skdim.id.MLE(K=20).fit(points, n_neighbors=20, comb="mle").dimension_,
        "id_mle_arithmetic": skdim.id.MLE(K=20).fit(points, n_neighbors=20, comb="mean").dimension_,
        "local_id": skdim.id.MLE(K=20).fit(points, n_neighbors=20).dimension_pw_[:5].tolist(),
        "id_gride": gride.dimension_scales_.tolist(),
        "id_gride_stderr": gride.error_scales_.tolist(),
        "id_gride_radius": gride.radius_scales_.tolist(),
        "id_corrint": skdim.id.CorrInt(k1=10, k2=20).fit(points).dimension_,
        "id_twonn_paper": PAPER.intrinsic_dimension(torch.from_numpy(points), "cpu"),
    }


def spectra(points):
    """Return every number of the spectrum.

    If no other program computes a number, it is computed from the singular values that numpy
    returns.
    """
    centred = points - points.mean(axis=0)
    sigma = np.linalg.svd(centred, compute_uv=False)
    plain = np.linalg.svd(points, compute_uv=False)
    cosines = cosine_similarity(points)
    debiased = dimensionality.participation_ratio(points, return_all=True)

    def entropy(weights):
        shares = weights[weights > 1e-12 * weights.max()] / weights.sum()
        return -(shares * np.log(shares)).sum()

    return {
        "anisotropy_paper": PAPER.calculate_anisotropy_torch(torch.from_numpy(points)),
        "anisotropy": PCA(svd_solver="full").fit(points).explained_variance_ratio_[0],
        "anisotropy_uncentred": plain[0] ** 2 / (plain**2).sum(),
        "mean_cosine": cosines[~np.eye(len(points), dtype=bool)].mean(),
        "isoscore": float(isoscore.IsoScore(points)),
        "participation_ratio": skdim.id.lPCA(ver="participation_ratio").fit(points).dimension_,
        "participation_ratio_debiased": debiased["row"],
        "effective_rank": np.exp(entropy(sigma**2)),
        "rankme": np.exp(entropy(sigma)),
        "stable_rank": np.linalg.norm(centred) ** 2 / np.linalg.norm(centred, ord=2) ** 2,
        "matrix_entropy": entropy(plain**2),
        "id_lpca": skdim.id.lPCA(ver="FO").fit(points).dimension_,
    }


def main():
    versions = {"scikit-dimension": skdim.__version__, "scikit-learn": sklearn.__version__}
    for name in ("llm-microscope", "IsoScore", "dimensionality"):
        versions[name] = importlib.metadata.version(name)
    fixtures = {
        "made_by": {**versions, "numpy": np.__version__},
        "clouds": {name: values_of(make()) for name, make in CLOUDS.items()},
    }
    path = Path(__file__).with_name("fixtures.json")
    path.write_text(json.dumps(fixtures, indent=1, default=float) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
