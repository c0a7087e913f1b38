"""Where models come from, and what is said of one that is none."""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from device.errors import HardwareError
from device.hearing import models
from device.hearing.models import bundled, load


@pytest.mark.parametrize(
    "name", ["melspectrogram.onnx", "embedding_model.onnx", "hey_jarvis_v0.1.onnx", "silero_vad.onnx"]
)
def test_the_models_are_in_the_wheel(name):
    assert bundled(name).is_file()


def test_a_model_that_is_not_in_the_wheel_is_named_with_the_way_out():
    with pytest.raises(HardwareError, match=r"nobody\.onnx is missing.*openwakeword 0\.5\.1.*install\.sh"):
        bundled("nobody.onnx")


def test_without_the_wheel_the_same_is_said(monkeypatch):
    monkeypatch.setattr(models, "find_spec", lambda name: None)
    with pytest.raises(HardwareError, match=r"silero_vad\.onnx is missing"):
        bundled("silero_vad.onnx")


def test_a_loaded_model_runs():
    features = np.zeros((1, 16, 96), np.float32)
    session = load(bundled("alexa_v0.1.onnx"))
    assert session.run(None, {session.get_inputs()[0].name: features})[0].shape == (1, 1)


@pytest.mark.parametrize("content", [b"", b"this is no model\n", bytes(range(256)) * 40])
def test_a_file_that_is_no_model_is_refused_in_one_line_with_its_path(tmp_path, content):
    path = tmp_path / "word.onnx"
    path.write_bytes(content)
    with pytest.raises(HardwareError, match=r"word\.onnx is not a model that can be run \(.+\)\.") as refused:
        load(path)
    assert len(str(refused.value).splitlines()) == 1


def test_a_model_that_is_cut_short_is_refused(tmp_path):
    path = tmp_path / "word.onnx"
    shutil.copy(bundled("alexa_v0.1.onnx"), path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(HardwareError):
        load(path)


def test_a_folder_or_a_missing_file_is_refused(tmp_path):
    for path in (tmp_path, tmp_path / "none.onnx"):
        with pytest.raises(HardwareError):
            load(path)


def test_the_runtime_that_runs_the_models_leaves_nothing_behind_and_calls_nobody(tmp_path):
    """Its Linux builds from 1.29 on keep an identifier of the machine and send what they see to their maker."""
    code = "from device.hearing.models import bundled, load; load(bundled('melspectrogram.onnx'))"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"HOME": str(tmp_path)}, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []

    spec = find_spec("onnxruntime")
    libraries = [path for folder in spec.submodule_search_locations for path in Path(folder, "capi").glob("*.so*")]
    assert libraries and not [path for path in libraries if b"OneCollector" in path.read_bytes()]
