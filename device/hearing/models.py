"""Where the neural networks are, and how they are run.

openWakeWord's models and silero's speech detector lie in the `openwakeword` 0.5.1 wheel. Its files are used, the package is
never imported: that would cost a second and 130 MB (scikit-learn, scipy).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from device.errors import HardwareError


def bundled(name: str) -> Path:
    """The path of the model file `name` inside the wheel.

    Raises:
        HardwareError: the wheel is missing, or is one without models.
    """
    spec = find_spec("openwakeword")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "resources" / "models" / name
        if path.is_file():
            return path
    raise HardwareError(f"The model {name} is missing. It comes inside openwakeword 0.5.1: run install.sh again.")


def load(path: Path) -> Any:
    """An onnxruntime session for the model at `path`, on one thread.

    Raises:
        HardwareError: the file cannot be read, or is no ONNX model.
    """
    import onnxruntime  # 90 ms

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Its threads spin while they wait for work: 243 % of a Cortex-A53 core instead of 36 %, measured by EchoMuse.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no public base class
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HardwareError(f"{path} is not a model that can be run ({reason}).") from error
