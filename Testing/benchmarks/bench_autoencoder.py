"""Speed of the diffusion autoencoder's configurations against the published layout, in one run on one device.

Weights are random: time does not depend on them. A counterfactual of the published layout is taken from measured steps,
since its 350 take minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from _common import fastest, network_arguments
from torch.utils.flop_counter import FlopCounterMode

from VertebralGradingLib.diffusion_autoencoder.network import DiffusionAutoencoder
from VertebralGradingLib.diffusion_autoencoder.sampler import PRESETS
from VertebralGradingLib.training.autoencoder import configured

_PATCHES = 17
_MATRIX = 2048


def main() -> None:
    """Print milliseconds, ratios, and the share of the machine's matrix multiplication that is reached."""
    args = network_arguments(threads=1, repeats=5)
    a = torch.randn(_MATRIX, _MATRIX)
    peak = 2 * _MATRIX**3 / _seconds(lambda: a @ a, args.repeats) / 1e9
    print(f"{args.threads} thread(s), matrix multiplication {peak:.0f} GFLOP/s; fastest of {args.repeats}")
    known = {}
    for name in ("paper128", *args.configs):
        few = 2 if name == "paper128" else args.repeats
        known[name] = _measured(name, peak, few)
    for name in args.configs:
        ratios = (there / here for there, here in zip(known["paper128"], known[name], strict=True))
        print(f"paper128 / {name}: " + ", ".join(f"{what} {r:.0f}x" for what, r in zip(_WHAT, ratios, strict=True)))


_WHAT = (f"encoding {_PATCHES}", "one step", "one counterfactual")


def _measured(name: str, peak: float, repeats: int) -> tuple[float, float, float]:
    """Seconds of encoding, of a step, and of a counterfactual."""
    layout = configured(name).network
    torch.manual_seed(0)
    model = DiffusionAutoencoder(layout).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = torch.randn(_PATCHES, 1, layout.size, layout.size).contiguous(memory_format=torch.channels_last)
    one, at, z = x[:1], torch.zeros(1), torch.zeros(1, layout.latent)
    with torch.inference_mode():
        with FlopCounterMode(display=False) as work:
            model.denoiser(one, at, z)
        encode = _seconds(lambda: model.encoder(x), repeats)
        step = _seconds(lambda: model.denoiser(one, at, z), repeats)
    preset = PRESETS["paper" if name == "paper128" else "live"]
    steps = preset.encode_steps + preset.decode_steps
    whole = encode / _PATCHES + steps * step
    flops = work.get_total_flops() / 1e9
    size = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    print(
        f"{name:9s} {size:6.1f} M parameters, {flops:6.1f} GFLOP a step; encoding {_PATCHES}: {1e3 * encode:.0f} ms, "
        f"a step {1e3 * step:.1f} ms ({100 * flops / step / peak:.0f} % of the peak), a counterfactual in {steps} "
        f"steps {whole:.1f} s"
    )
    return encode, step, whole


def _seconds(work: Callable[[], object], repeats: int) -> float:
    work()  # the first run pays for what is done once
    return fastest(work, repeats)


if __name__ == "__main__":
    main()
