"""Contrasts of two windows between which nothing has changed; a test says only what differs."""

from __future__ import annotations

from detectors.findings.contrasts import Contrasts
from detectors.records import Task

QUIET = Contrasts(
    Task.BINARY,
    rows_ref=6000,
    rows_cur=3000,
    labels_ref=6000,
    labels_cur=3000,
    inputs_auc=0.505,
    score_shift=0.01,
    score_slope=1.0,
    score_move=0.01,
    score_move_z=0.4,
    within_class_auc=0.51,
    loss_ref=0.40,
    loss_cur=0.401,
    loss_z=0.2,
    concept=0.001,
    concept_z=0.2,
    rate_change=0.02,
    rate_change_se=0.045,
    implied_change=0.03,
    implied_z=0.5,
    implied_gap_z=0.2,
    weighted_change=0.0,
    intercept_change=0.02,
    intercept_z=0.5,
    slope_change=0.01,
    slope_z=0.3,
    ranking_change=0.0,
    ranking_z=0.0,
    local_z=0.5,
    local_column="age",
    region_z=0.0,
)
