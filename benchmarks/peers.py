"""The programs that we did not write, each as its users would call it."""

import importlib.metadata
import importlib.util

import faiss
import numpy as np
import skdim
import torch
from sklearn.neighbors import NearestNeighbors


def faiss_flat(points, k):
    """The k nearest and the point itself, exactly but for float32's rounding."""
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return index.search(points, k + 1)


def scikit_learn(points, k):
    """The k nearest, by brute force in the points' own precision."""
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors()


def scikit_dimension(points):
    """TwoNN, MLE, Gride and the correlation dimension: a search each."""
    return [
        skdim.id.TwoNN().fit(points).dimension_,
        skdim.id.MLE(K=20).fit(points, n_neighbors=20).dimension_,
        skdim.id.GRIDE(multiscale=True).fit(points).dimension_,
        skdim.id.CorrInt().fit(points).dimension_,
    ]


def svd(points):
    """Anisotropy from all singular values, in float64, as numpy has them."""
    squares = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) ** 2
    return squares[0] / squares.sum()


def svd_torch(points):
    """Anisotropy from all singular values, in float64, as torch has them."""
    exact = torch.from_numpy(points)
    squares = torch.linalg.svdvals(exact - exact.mean(dim=0)) ** 2
    return float(squares[0] / squares.sum())


def paper():
    """The authors' own functions; their package fails to import, its file does not."""
    files = importlib.metadata.files("llm-microscope")
    path = next(file for file in files if file.name == "functions.py").locate()
    spec = importlib.util.spec_from_file_location("paper", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
