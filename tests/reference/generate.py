"""Make fixtures.json: what programs that we did not write compute on deterministic clouds.

Run in an environment of its own, not by the tests:
    python -m venv peers && peers/bin/pip install scikit-dimension torch==2.13.0 tqdm matplotlib
    peers/bin/pip install --no-deps llm-microscope==0.0.7
    peers/bin/python tests/reference/generate.py
"""

import importlib.metadata
import importlib.util
import json
from pathlib import Path

import numpy as np
import skdim
import sklearn
import torch
from clouds import CLOUDS
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors


def _paper():
    """The paper's own functions; the package itself fails to import, its file does not."""
    files = importlib.metadata.files("llm-microscope")
    path = next(file for file in files if file.name == "functions.py").locate()
    spec = importlib.util.spec_from_file_location("paper", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAPER = _paper()


def peers(points):
    """Values of one cloud; the repeated rows are removed by numpy before the IDs."""
    unique = np.unique(points, axis=0)
    distances, indices = NearestNeighbors(n_neighbors=6, algorithm="brute").fit(points).kneighbors()
    cosines = cosine_similarity(points)
    off_diagonal = ~np.eye(len(points), dtype=bool)
    return {
        "id_twonn": float(skdim.id.TwoNN(discard_fraction=0.1).fit(unique).dimension_),
        "id_twonn_paper": PAPER.intrinsic_dimension(torch.from_numpy(unique), "cpu"),
        "anisotropy_paper": PAPER.calculate_anisotropy_torch(torch.from_numpy(points)),
        "anisotropy": float(PCA(svd_solver="full").fit(points).explained_variance_ratio_[0]),
        "mean_cosine": float(cosines[off_diagonal].mean()),
        "neighbor_distances": distances[:5].tolist(),
        "neighbor_indices": indices[:5].tolist(),
    }


def main():
    versions = {"scikit-dimension": skdim.__version__, "scikit-learn": sklearn.__version__}
    versions["llm-microscope"] = importlib.metadata.version("llm-microscope")
    fixtures = {
        "made_by": {**versions, "numpy": np.__version__},
        "clouds": {name: peers(make()) for name, make in CLOUDS.items()},
    }
    path = Path(__file__).with_name("fixtures.json")
    path.write_text(json.dumps(fixtures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
