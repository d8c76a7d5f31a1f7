"""Metrics with patient-clustered uncertainty."""
