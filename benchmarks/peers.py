"""Functions of other programs, called as their users would call them."""

import importlib.metadata
import importlib.util

import faiss
import numpy as np
import skdim
import torch
from sklearn.neighbors import NearestNeighbors


def faiss_flat(points, k):
    """Return each point and its k nearest neighbours, exact up to rounding in float32."""
    index = faiss.IndexFlatL2(points.shape[1])
    index.add(points)
    return index.search(points, k + 1)


def scikit_learn(points, k):
    """Return the k nearest neighbours, by brute force in the precision of the points."""
    return NearestNeighbors(n_neighbors=k, algorithm="brute").fit(points).kneighbors()


def scikit_dimension(points):
    """Return TwoNN, MLE, Gride and the correlation dimension. Each of them runs its own search."""
    return [
        skdim.id.TwoNN().fit(points).dimension_,
        skdim.id.MLE(K=20).fit(points, n_neighbors=20).dimension_,
        skdim.id.GRIDE(multiscale=True).fit(points).dimension_,
        skdim.id.CorrInt().fit(points).dimension_,
    ]


def svd(points):
    """Return the anisotropy. numpy computes all singular values in float64."""
    squares = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) ** 2
    return squares[0] / squares.sum()


def svd_torch(points):
    """Return the anisotropy. torch computes all singular values in float64."""
    exact = torch.from_numpy(points)
    squares = torch.linalg.svdvals(exact - exact.mean(dim=0)) ** 2
    return float(squares[0] / squares.sum())


def paper():
    """Load one module by the paper's authors. Importing the whole package would fail."""
    files = importlib.metadata.files("llm-microscope")
    path = next(file for file in files if file.name == "functions.py").locate()
    spec = importlib.util.spec_from_file_location("paper", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
