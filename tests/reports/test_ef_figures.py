"""The table of an ejection fraction: what is told at each limit, and of how many."""

from __future__ import annotations

from echocli.reports.sections_lvef import ef_figures

FOUND = {"value": 0.75, "low": 0.5, "high": 0.9}
SUMMARY = {
    "test": {"clips": 40, "patients": 31, "sd_ef_percent": 12.0},
    "predict_the_mean": {"mae": FOUND},
    "auroc": {"below_35": {**FOUND, "positive": 4}},
    "cuts": {"below_35": {"sensitivity": {**FOUND, "rows": 4, "patients": 3}}},
    "ef_classes": {"kappa_quadratic": FOUND},
    "intervals": {"draws": 2000, "seed": 0},
}


def test_limits_are_told_with_their_counts_and_older_results_without_them() -> None:
    told = str(ef_figures(SUMMARY, {"icc": FOUND}, "probe"))
    for words in (
        "intraclass correlation ICC(A,1)",
        "sensitivity at EF below 35 (4 clips of 3 patients)",
        "quadratic weights",
    ):
        assert words in told
    older = {key: SUMMARY[key] for key in ("test", "predict_the_mean", "auroc")}
    assert "sensitivity" not in str(ef_figures(older, {"mae": FOUND}, "probe"))
