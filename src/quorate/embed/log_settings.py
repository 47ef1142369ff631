"""The settings of a member that say what is logged, where, and in which form; and their rules, in etcd's words."""

from __future__ import annotations

from dataclasses import dataclass, field

from quorate.embed.errors import ConfigError
from quorate.pkg import jsonlog
from quorate.pkg.logrotate import DEFAULT_ROTATION, RotationError, parse_rotation

FORMATS = ("json", "console")


@dataclass
class LogSettings:
    """Log lines of the command; an embedding program sends them where it likes."""

    logger: str = "zap"
    log_level: str = "info"
    log_outputs: list[str] = field(default_factory=lambda: ["default"])
    log_format: str = "json"
    enable_log_rotation: bool = False
    log_rotation_config_json: str = DEFAULT_ROTATION
    log_package_levels: dict[str, int] = field(default_factory=dict)
    """Levels of the standard library by room, such as "quorate.server", where they differ from `log_level`."""

    def check_logging(self) -> None:
        """Raises ConfigError."""
        if self.logger != "zap":
            removed = self.logger == "capnslog"
            raise ConfigError(
                "--logger=capnslog is removed in v3.5" if removed else f'unknown logger option "{self.logger}"'
            )
        if "default" in self.log_outputs and len(self.log_outputs) > 1:
            raise ConfigError('multi logoutput for "default" is not supported yet')
        if self.enable_log_rotation:
            if len(jsonlog.files(self.log_outputs)) != 1:
                raise ConfigError("--log-outputs requires a single file path when --log-rotate-config-json is defined")
            try:
                parse_rotation(self.log_rotation_config_json)
            except RotationError as err:
                raise ConfigError(str(err)) from None
        if self.log_format not in FORMATS:
            raise ConfigError(f"unknown log format: {self.log_format}, supported values {', '.join(FORMATS)}")
        if self.log_level not in jsonlog.LEVELS:
            raise ConfigError(f'unrecognized level: "{self.log_level}"')
