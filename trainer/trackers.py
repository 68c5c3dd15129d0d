"""Where a run's log goes beside `log.jsonl`: TensorBoard, Weights & Biases.

Each is an optional library, imported only where `--log` names it, and before anything is loaded. What it is shown are
the lines of `log.jsonl`, flat: `train/loss`, `train/lr`, `validation/auc`; a measure that is not defined is left out.
Their files stand in hidden folders, which no push to the Hub sends: they name the machine.
"""

import secrets
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from stepmark.errors import SettingsError

Logger = Literal["tensorboard", "wandb"]
"""What a run can be shown in."""


class Tracker(Protocol):
    """Shows a run while it goes."""

    def start(self, step: int) -> None:
        """Begins or goes on behind this step; what was shown of later ones is void."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Shows the values of a step."""

    def close(self) -> None:
        """Writes what is not written yet."""


def flat(line: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of a line of `log.jsonl` by name.

    >>> flat({"step": 3, "epoch": 0, "loss": 0.5, "lr": 1e-3})
    {'train/epoch': 0, 'train/loss': 0.5, 'train/lr': 0.001}
    >>> flat({"step": 3, "epoch": 0, "validation": {"loss": 0.5, "auc": None}})
    {'validation/loss': 0.5}
    """
    name = "validation" if "validation" in line else "train"
    values: Mapping[str, Any] = line.get("validation", line)
    return {f"{name}/{key}": value for key, value in values.items() if key != "step" and value is not None}


def find_trackers(names: Sequence[Logger], out: Path) -> list[Tracker]:
    """Returns the trackers of a run that is written to `out`; nothing is opened yet.

    Raises:
        SettingsError: a library is not installed.
    """
    kinds: dict[Logger, type[TensorBoard] | type[WeightsAndBiases]] = {
        "tensorboard": TensorBoard,
        "wandb": WeightsAndBiases,
    }
    return [kinds[name](out) for name in dict.fromkeys(names)]


class TensorBoard:
    """Event files in `.tensorboard/` in the run's folder: `tensorboard --logdir OUT`."""

    def __init__(self, out: Path) -> None:
        """Looks for the library: TensorBoard's own writer, or tensorboardX, which needs less."""
        try:
            module = import_module("torch.utils.tensorboard")
        except ImportError:
            try:
                module = import_module("tensorboardX")
            except ImportError as err:
                raise SettingsError("--log tensorboard needs it: pip install 'stepmark[tensorboard]'.") from err
        self._writer_of: Any = module.SummaryWriter
        self._folder = str(out / ".tensorboard")
        self._writer: Any = None

    def start(self, step: int) -> None:
        """Opens an event file in which the steps behind `step` take the place of earlier ones."""
        self._writer = self._writer_of(self._folder, purge_step=step + 1 if step else None)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a scalar for each value."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes the file out."""
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run in Weights & Biases under the folder's name, whose account, project and mode its own variables say.

    With `WANDB_MODE=offline` nothing leaves the machine, and `wandb sync` sends it later. A resumed run goes on under
    the same id; the steps behind its checkpoint then stand there twice, with equal values.
    """

    def __init__(self, out: Path) -> None:
        """Looks for the library."""
        try:
            self._wandb: Any = import_module("wandb")
        except ImportError as err:
            raise SettingsError("--log wandb needs it: pip install 'stepmark[wandb]'.") from err
        self._out = out
        self._run: Any = None

    def start(self, step: int) -> None:
        """Opens the run, its files in `.wandb/` in the run's folder."""
        path = self._out / ".wandb" / "run_id"
        path.parent.mkdir(parents=True, exist_ok=True)  # where it is there, the library writes to it
        if not step or not path.exists():
            path.write_text(secrets.token_hex(8), encoding="utf-8")
        self._run = self._wandb.init(
            name=self._out.resolve().name,
            id=path.read_text(encoding="utf-8"),
            resume="allow" if step else None,
            dir=str(self._out),
        )
        self._run.define_metric("*", step_metric="step")

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Logs the values beside the step."""
        self._run.log({"step": step, **values})

    def close(self) -> None:
        """Finishes the run; what is offline stays in the folder."""
        if self._run is not None:
            self._run.finish()
