"""Which device a method that needs torch runs on, and why. torch is imported here and nowhere earlier."""

from __future__ import annotations

from VertebralGradingLib.errors import MethodError


def describe_devices() -> dict[str, object]:
    """What there is to compute on: ``torch`` (its version, None without it), ``devices``, ``device`` and its reason."""
    device, reason = choose_device()
    try:
        import torch
    except ImportError:
        return {"torch": None, "devices": ["cpu"], "device": device, "device_reason": reason}
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = ["cpu", *(f"cuda:{n}" for n in range(count))]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return {"torch": torch.__version__, "devices": devices, "device": device, "device_reason": reason}


def choose_device(wanted: str = "auto") -> tuple[str, str]:
    """Choose a device.

    Args:
        wanted: "auto", "cpu", "cuda:N" or "mps".

    Returns:
        The device's name and the reason in one sentence. MPS is taken only when it computes what the CPU computes.

    Raises:
        MethodError: a device that was asked for by name is not there.
    """
    try:
        import torch
    except ImportError:
        if wanted not in ("auto", "cpu"):
            raise MethodError(
                f"{wanted} needs torch, which is not installed.", "Install torch or choose cpu."
            ) from None
        return "cpu", "torch is not installed; morphometry does not need it"
    if wanted == "auto":
        if torch.cuda.is_available():
            return "cuda:0", f"a CUDA device was found ({torch.cuda.get_device_name(0)})"
        if _mps_agrees():
            return "mps", "an MPS device was found and agrees with the CPU"
        return "cpu", "no other device was found"
    if wanted.startswith("cuda"):
        index = int(wanted.partition(":")[2] or 0)
        if not torch.cuda.is_available() or index >= torch.cuda.device_count():
            raise MethodError(f"{wanted} is not available.", "Choose auto or cpu.")
        wanted = f"cuda:{index}"
    elif wanted == "mps" and not _mps_agrees():
        raise MethodError("mps is not available, or computes wrongly.", "Choose auto or cpu.")
    elif wanted not in ("cpu", "mps"):
        raise MethodError(f"The device {wanted!r} is not known.", "Choose auto, cpu, cuda:0 or mps.")
    return wanted, "as chosen"


def _mps_agrees() -> bool:
    """Whether MPS is there and convolves and interpolates as the CPU does."""
    import torch

    if not torch.backends.mps.is_available():
        return False
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 4, 24, 24, generator=generator)
    kernel = torch.randn(4, 4, 3, 3, generator=generator)

    def compute(device: str) -> torch.Tensor:
        out = torch.nn.functional.conv2d(image.to(device), kernel.to(device), padding=1)
        return torch.nn.functional.interpolate(out, scale_factor=2, mode="bilinear", align_corners=False).cpu()

    try:
        return bool(torch.allclose(compute("cpu"), compute("mps"), atol=1e-3, rtol=1e-3))
    except RuntimeError:
        return False
