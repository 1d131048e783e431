"""What can go wrong in training, in words for the user."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """Training could not go on; the message names the parameter or the site."""


class CheckpointError(ValueError):
    """A checkpoint cannot be read, is of another model, or could not be written."""
