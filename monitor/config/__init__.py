"""`kedge.toml`, checked before anything starts. An immutable snapshot; reload swaps it whole.

Environment variables override the file: `KEDGE_SERVICE__PORT=9000`. Secrets are never in the
file: a channel names the environment variable or the file that holds its secret.
"""

from __future__ import annotations

import ipaddress
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from alerts.plain import plain
from detectors.records import (
    MOST_KEPT_COLUMNS,
    Budget,
    CalibratedTo,
    Design,
    NamedDetector,
    Output,
    Schema,
    Settings,
    Task,
)
from detectors.transfer.losses import check_choice, check_loss, parse_loss
from monitor.config.baseline import BaselineConfig
from monitor.config.channels import check_channel, secret_of
from monitor.config.oncall import (
    IncidentsConfig,
    QuietHoursConfig,
    RouteConfig,
    check_routes,
)
from monitor.config.retraining import RetrainingConfig, check_retraining
from monitor.config.sections import NAME, DurationUs, NonNegativeUs, Section
from monitor.durations import (
    parse_budget,
    parse_duration,
    parse_slow_change,
    parse_tick,
    parse_volume_change,
)
from monitor.errors import InputError, KedgeError, did_you_mean
from monitor.files.roles import parse_outputs

DEFAULT_PATH = Path("kedge.toml")


class ServiceConfig(Section):
    """The process: where it listens, where it stores, how often it looks."""

    host: str = "127.0.0.1"
    port: int = Field(8321, ge=0, le=65535)
    database: str = "sqlite:///kedge.db"
    public_url: str = ""
    check_every: DurationUs = Field(2_000_000)
    deliver_every: DurationUs = Field(1_000_000)
    retention: DurationUs = Field(parse_duration("90d", what="retention"))
    future_limit: DurationUs = Field(parse_duration("1h", what="future_limit"))
    new_columns: int = Field(MOST_KEPT_COLUMNS, ge=0, le=2_000)
    token_env: str = "KEDGE_TOKEN"  # noqa: S105  # the name of a variable, no secret
    requests_per_minute: int = Field(6_000, ge=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def token(self) -> str | None:
        """The shared bearer token from the environment, None if none is set."""
        return os.environ.get(self.token_env) or None

    @property
    def base_url(self) -> str:
        """Where people reach the pages; links in messages start with it."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"


class DetectorConfig(Section):
    """A named detector, switched on for a score, a loss, a column or all `columns`."""

    method: str
    signal: str
    options: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _exists(self) -> DetectorConfig:
        # Imported only where a detector is configured: the catalog loads numba.
        from detectors.base import make_detector

        make_detector(NamedDetector(self.method, self.signal, dict(self.options)))
        return self


class ModelConfig(Section):
    """How one model's deployments are judged. Durations read 6h, 30d; budgets 1 page / 30 d."""

    task: Task = Task.BINARY
    budget: str = "1 page / 30 d"
    tick: str = "auto"
    lateness: NonNegativeUs = Field(parse_duration("1h", what="lateness"))
    label_delay: NonNegativeUs | None = None
    review: DurationUs | None = None
    margin: float = Field(0.01, gt=0, lt=1)
    alpha: float = Field(0.04, gt=0, lt=0.5)
    holidays: str | None = None
    calibration: CalibratedTo = CalibratedTo.REFERENCE
    peers: bool = True
    slow_change: str = "3 tickets / 30 d"
    volume_change: str = "2"
    slices: tuple[tuple[str, ...], ...] = ()
    probabilities: dict[str, str] = Field(default_factory=dict)
    quantiles: dict[str, str] = Field(default_factory=dict)
    sd: str = ""
    source_domain: str | None = None
    sampling: float = Field(1.0, gt=0, le=1)
    slice_floor: int = Field(0, ge=0)
    quiet_after: NonNegativeUs | None = None
    labels_after: NonNegativeUs | None = None
    few_rows: int = Field(50, ge=0)
    detectors: tuple[DetectorConfig, ...] = ()
    baseline: BaselineConfig = BaselineConfig()
    loss: str | None = None

    @model_validator(mode="after")
    def _outputs_fit(self) -> ModelConfig:
        if self.probabilities and self.task is not Task.MULTICLASS:
            msg = f"probabilities are of classes: a {self.task} model has a score and no classes"
            raise ValueError(msg)
        if (self.quantiles or self.sd) and self.task is not Task.REGRESSION:
            msg = f"quantiles and sd are of values: a {self.task} model predicts none"
            raise ValueError(msg)
        recorded = {None, Design.SHADOW, Design.NONE}
        if self.baseline.probabilities and self.baseline.kind not in recorded:
            msg = (
                "baseline.probabilities come with each row, beside the model's own, so they are "
                f"for baseline.kind 'shadow', not '{self.baseline.kind}'"
            )
            raise ValueError(msg)
        self.outputs()
        return self

    def outputs(self) -> tuple[Output, ...]:
        """The further outputs that are named here."""
        return parse_outputs(
            tuple(f"{of}={column}" for of, column in self.probabilities.items()),
            tuple(f"{level}={column}" for level, column in self.quantiles.items()),
            self.sd or None,
            tuple(f"{of}={column}" for of, column in self.baseline.probabilities.items()),
        )

    @model_validator(mode="after")
    def _comparable(self) -> ModelConfig:
        if self.loss is not None:
            name, _ = parse_loss(self.loss)
            check_choice(self.task, name)
            if name == "auc" and self.baseline.kind not in {None, Design.SHADOW}:
                msg = (
                    "loss 'auc' ranks rows among the reference's scores of both models, so it is "
                    f"for baseline.kind 'shadow', not '{self.baseline.kind}'"
                )
                raise ValueError(msg)
            check_loss(Schema(self.task, (), outputs=self.outputs()), self.settings())
        if self.baseline.treated == self.baseline.control:
            msg = f"baseline.treated and baseline.control are both '{self.baseline.treated}'"
            raise ValueError(msg)
        return self

    @field_validator("budget")
    @classmethod
    def _budget_reads(cls, text: str) -> str:
        parse_budget(text)
        return text

    @field_validator("slow_change")
    @classmethod
    def _slow_change_reads(cls, text: str) -> str:
        parse_slow_change(text)
        return text

    @field_validator("volume_change", mode="before")
    @classmethod
    def _volume_change_reads(cls, given: object) -> str:
        parse_volume_change(str(given))
        return str(given)

    @field_validator("tick")
    @classmethod
    def _tick_reads(cls, text: str) -> str:
        _, rows = parse_tick(text)
        if rows is not None:
            msg = "a tick of rows is for `kedge replay`; the daemon needs auto, 1h, 6h or 1d"
            raise ValueError(msg)
        return text

    def settings(self) -> Settings:
        """The pure core's view of this section."""
        tick_us, tick_rows = parse_tick(self.tick)
        budget: Budget = parse_budget(self.budget)
        return Settings(
            budget=budget,
            tick_us=tick_us,
            tick_rows=tick_rows,
            lateness_us=self.lateness,
            label_delay_us=self.label_delay,
            review_us=self.review,
            margin=self.margin,
            alpha=self.alpha,
            holidays=self.holidays,
            calibration=self.calibration,
            named=tuple(
                NamedDetector(named.method, named.signal, dict(named.options))
                for named in self.detectors
            ),
            baseline=self.baseline.plan(),
            peers=self.peers,
            slow=parse_slow_change(self.slow_change),
            volume=parse_volume_change(self.volume_change),
            loss="" if self.loss is None else parse_loss(self.loss)[0],
            quantile=0.5 if self.loss is None else parse_loss(self.loss)[1],
        )


class ChannelConfig(Section):
    """Where messages go. Secrets come from an environment variable or a file, never from here."""

    name: str = Field(pattern=NAME)
    kind: str
    url: str = ""
    secret_env: str = ""
    secret_file: str = ""
    tiers: tuple[Literal["page", "ticket"], ...] = ("page", "ticket")
    quiet_hours: QuietHoursConfig | None = None
    allow_networks: tuple[str, ...] = ()
    rate: str = ""
    format: Literal["plain", "cloudevents"] = "plain"
    host: str = ""
    port: int = Field(0, ge=0, le=65535)
    tls: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    sender: str = ""
    to: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    resend_every: DurationUs = Field(60_000_000)
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> ChannelConfig:
        check_channel(self)
        return self

    def secret(self) -> str:
        """What its environment variable or file holds; InputError if that is nothing."""
        return secret_of(self)


class SourceConfig(Section):
    """Where rows are pulled from: a watched directory of files, or a SQL prediction log."""

    name: str = Field(pattern=NAME)
    kind: Literal["files", "sql"]
    model: str
    rows: Literal["events", "labels"] = "events"
    domain: str | None = None
    every: DurationUs = Field(60_000_000)
    path: str = ""
    pattern: str = "*"
    url_env: str = ""
    query: str = ""
    watermark_column: str = ""
    columns: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> SourceConfig:
        if self.kind == "files" and not self.path:
            msg = f"source {self.name}: a files source needs path"
            raise ValueError(msg)
        if self.kind == "sql" and not (self.url_env and self.query and self.watermark_column):
            msg = f"source {self.name}: a sql source needs url_env, query and watermark_column"
            raise ValueError(msg)
        return self


class Config(BaseSettings):
    """The whole file."""

    model_config = SettingsConfigDict(
        env_prefix="KEDGE_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    service: ServiceConfig = ServiceConfig()
    models: dict[Annotated[str, Field(pattern=NAME)], ModelConfig] = Field(default_factory=dict)
    channels: tuple[ChannelConfig, ...] = ()
    sources: tuple[SourceConfig, ...] = ()
    routes: tuple[RouteConfig, ...] = ()
    incidents: IncidentsConfig = IncidentsConfig()
    retraining: RetrainingConfig = RetrainingConfig()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment first, then the file; nothing else."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings

    @model_validator(mode="after")
    def _consistent(self) -> Config:
        names = [channel.name for channel in self.channels]
        names += [source.name for source in self.sources]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            msg = f"the name '{min(twice)}' is given twice; channels and sources need their own"
            raise ValueError(msg)
        for source in self.sources:
            if source.model not in self.models:
                hint = did_you_mean(source.model, self.models)
                msg = f"source {source.name}: no model '{source.model}' in [models].{hint}"
                raise ValueError(msg)
        check_routes(self)
        check_retraining(self)
        return self


def load_config(path: str | Path | None) -> Config:
    """Read and check a configuration; None takes ./kedge.toml, or defaults where there is none.

    Raises:
        InputError: one line with the key, what was given, and what would do.
    """
    file = Path(path) if path is not None else DEFAULT_PATH
    raw: dict[str, Any] = {}
    if file.is_file():
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            msg = f"{file}: not valid TOML: {error}"
            raise InputError(msg) from error
    elif path is not None:
        msg = f"{file}: no such configuration file"
        raise InputError(msg)
    return parse_config(raw, source=str(file))


def parse_config(raw: dict[str, Any], *, source: str) -> Config:
    """Check a configuration that is already a mapping.

    Raises:
        InputError: one line with the key, what was given, and what would do.
    """
    try:
        return Config(**raw)
    except ValidationError as error:
        raise InputError(plain(_first_problem(error, source), LONGEST_PROBLEM)) from error
    except KedgeError as error:
        msg = f"{source}: {error}"
        raise InputError(msg) from error


LONGEST_PROBLEM = 1_900


def _first_problem(error: ValidationError, source: str) -> str:
    """The first error as a sentence; further ones are counted."""
    problems = error.errors(include_url=False)
    first = problems[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        given = str(first["loc"][-1])
        known = _known_keys(first["loc"][:-1])
        return (
            f"{source}: unknown key '{place}'.{did_you_mean(given, known)} "
            f"Known here: {', '.join(sorted(known))}{more}"
        )
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] in {"literal_error", "enum"}:
        given = str(first["input"])
        choices = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        message = f"'{given[:80]}' is not {first['ctx']['expected']}.{did_you_mean(given, choices)}"
    return f"{source}: {place + ': ' if place else ''}{message}{more}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """The keys a section knows, found by where it stands."""
    section: type[BaseModel] = Config
    if location:
        match location[0]:
            case "service":
                section = ServiceConfig
            case "models":
                section = DetectorConfig if "detectors" in location else ModelConfig
            case "channels":
                section = ChannelConfig
            case "sources":
                section = SourceConfig
            case "routes":
                section = RouteConfig
            case "incidents":
                section = IncidentsConfig
            case "retraining":
                section = RetrainingConfig
        if "baseline" in location:
            section = BaselineConfig
        if "quiet_hours" in location:
            section = QuietHoursConfig
    return list(section.model_fields)
