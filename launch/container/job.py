"""What a job is told of itself: SageMaker's folders and the toolkit's variables, read once."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

# SageMaker adds it to the hyperparameters of a tuning job's children.
TUNING_METRIC = "_tuning_objective_metric"


@dataclass(frozen=True)
class Job:
    """A job, as one of its machines sees it.

    Args:
        base: ``/opt/ml``, or what stands for it.
        model_dir: What is here at the end becomes model.tar.gz.
        output_dir: What is here at the end becomes output.tar.gz.
        hyperparameters: As the API has them, a text each; the toolkit's own reading of them has lost ``1e-3``.
        channels: Folders of input by the names of channels.
        hosts: Names of all machines.
        host: Name of this one.
        num_gpus: GPUs of this machine.
        instance_type: ``ml.g5.xlarge``; ``local`` where it is no machine of SageMaker's.
        network_interface: Through which machines reach each other.
        name: Of the job; empty where nobody says it.
    """

    base: Path
    model_dir: Path
    output_dir: Path
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    channels: Mapping[str, Path] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("algo-1",)
    host: str = "algo-1"
    num_gpus: int = 0
    instance_type: str = "local"
    network_interface: str = ""
    name: str = ""

    @classmethod
    def of(cls, variables: Mapping[str, str]) -> Job:
        """Read the variables that the toolkit sets.

        Raises:
            UserError: they are not set: this is no job.
        """
        from dogbreed.errors import UserError

        if not {"SM_MODEL_DIR", "SM_OUTPUT_DATA_DIR", "SM_INPUT_CONFIG_DIR"} <= variables.keys():
            msg = "This is what runs inside a SageMaker job; to try it here: python -m launch.train launch=local."
            raise UserError(msg)
        model_dir = Path(variables["SM_MODEL_DIR"])
        prefix = "SM_CHANNEL_"
        # The names of variables are in capitals; the channels' own names are in a list.
        names = {name.upper(): name for name in json.loads(variables.get("SM_CHANNELS", "[]"))}
        return cls(
            base=Path(variables.get("SAGEMAKER_BASE_DIR") or model_dir.parent),
            model_dir=model_dir,
            output_dir=Path(variables["SM_OUTPUT_DATA_DIR"]),
            hyperparameters=json.loads(
                Path(variables["SM_INPUT_CONFIG_DIR"], "hyperparameters.json").read_text(encoding="utf-8")
            ),
            channels={
                names.get(name.removeprefix(prefix), name.removeprefix(prefix).lower()): Path(value)
                for name, value in variables.items()
                if name.startswith(prefix)
            },
            hosts=tuple(json.loads(variables.get("SM_HOSTS", '["algo-1"]'))),
            host=variables.get("SM_CURRENT_HOST", "algo-1"),
            num_gpus=int(variables.get("SM_NUM_GPUS") or 0),
            instance_type=variables.get("SM_CURRENT_INSTANCE_TYPE", "local"),
            network_interface=variables.get("SM_NETWORK_INTERFACE_NAME", ""),
            name=variables.get("TRAINING_JOB_NAME", ""),
        )

    @property
    def run_dir(self) -> Path:
        """The run folder; where that is a link, what it leads to."""
        return Path(os.path.realpath(self.output_dir / "run"))

    @property
    def checkpoint_dir(self) -> Path | None:
        """Folder that SageMaker copies to S3 while the job runs, and back before it goes on; None if it does not.

        The jobs of a tuning job share one place in S3, so that each has a folder of its own name in it.
        """
        folder = self.base / "checkpoints"
        if not folder.is_dir():
            return None
        return folder / self._own_name if self.is_trial else folder

    @property
    def failure_file(self) -> Path:
        """What DescribeTrainingJob shows as FailureReason."""
        return self.base / "output" / "failure"

    @property
    def _own_name(self) -> str:
        """The job's name; where nobody says it, what sets it apart from others of its tuning job."""
        values = json.dumps(sorted(self.hyperparameters.items()))
        return self.name or hashlib.sha256(values.encode()).hexdigest()[:16]

    @property
    def is_trial(self) -> bool:
        """The run is a tuning job's, and must not see the test split; a sweep says so by an override."""
        return TUNING_METRIC in self.hyperparameters
