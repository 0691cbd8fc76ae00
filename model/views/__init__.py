"""From a batch to its views: (n, B, D) features, one row per sample in every view."""

from model.views.compose import ViewEncoder, ViewPlan, plan_views

__all__ = ["ViewEncoder", "ViewPlan", "plan_views"]
