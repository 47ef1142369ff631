"""What is wrong with settings."""

from __future__ import annotations


class ConfigError(Exception):
    """Settings that no member can run with; the text says which and why."""
