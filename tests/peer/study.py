"""Prints the figures that the tests of `src/study` hold, by other people's code.

    pip install scipy SimpleITK
    python3 tests/peer/study.py

SciPy: Wilcoxon's signed-rank test (exact, with ties and equal pairs, and normal of many), the paired t-test, the percentile
bootstrap. SimpleITK: STAPLE of four discs. `src/study/stats.rs` and `src/study/staple.rs` compare with them.
"""
import numpy as np
import scipy
import SimpleITK as sitk
from scipy import stats

A = [12.1, 9.4, 15.0, 8.8, 20.3, 11.2, 13.7, 10.1, 17.9, 9.05, 14.4, 12.6]
B = [10.0, 9.9, 11.2, 8.5, 14.9, 12.35, 12.0, 9.3, 11.3, 9.75, 10.3, 10.1]
print("scipy", scipy.__version__, "SimpleITK", sitk.Version.VersionString())
print("A B", stats.wilcoxon(A, B), stats.ttest_rel(A, B))

X, Y = [3, 5, 2, 4, 5, 1, 4, 3, 5, 2], [3, 4, 2, 2, 3, 1, 5, 1, 3, 2]
print("ties", stats.wilcoxon(X, Y), stats.wilcoxon([1] * 5), stats.wilcoxon([1, 2, 3, 4, 5, 0]))
i = np.arange(60.0)
print("many", stats.wilcoxon(i * 37 % 61, i * 23 % 59), stats.ttest_rel(i * 37 % 61, i * 23 % 59))
for seed in range(3):
    found = stats.bootstrap((A,), np.mean, method="percentile", n_resamples=9999, rng=seed)
    print("bootstrap", found.confidence_interval)

y, x = np.mgrid[:40, :48]
discs = [(22, 20, 11), (24, 19, 12), (23, 21, 10), (30, 20, 12)]
raters = [((x - cx) ** 2 + (y - cy) ** 2 <= r * r).astype(np.uint8) for cx, cy, r in discs]
staple = sitk.STAPLEImageFilter()
staple.SetForegroundValue(1)
w = sitk.GetArrayFromImage(staple.Execute([sitk.GetImageFromArray(r) for r in raters]))
print("sensitivity", staple.GetSensitivity())
print("specificity", staple.GetSpecificity())
print("pixels", (w >= 0.5).sum(), "at (34, 20) and (12, 20):", w[20, 34], w[20, 12])
