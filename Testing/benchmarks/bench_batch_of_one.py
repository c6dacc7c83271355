"""What one item costs each network that comes along, alone and with others, in one run on one thread.

PyTorch computes some convolutions of a batch of one without oneDNN (``models.batches.in_company``). Where one costs
more than two do, it is sent with its copy; where it costs less, it goes alone. Milliseconds are the processor's, so
that what else runs there does not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from VertebralGradingLib.diffusion_autoencoder.inference import Autoencoder
from VertebralGradingLib.healthivert.attention import attention
from VertebralGradingLib.healthivert.inference import Healthivert
from VertebralGradingLib.segmentation.learned import NetworkFinder
from VertebralGradingLib.segmentation.network import EDGE

_SIZES = (1, 2, 4, 8)
_REPEATS = 8


def main() -> None:
    """Print milliseconds of batches."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    body, autoencoder = NetworkFinder.load().network, Autoencoder.load()
    networks = Healthivert.load().views["sagittal"]
    layout, denoiser, generator = autoencoder.config, autoencoder.denoiser, networks.generator
    assert denoiser is not None and networks.classifier is not None
    classifier, edge, middle = networks.classifier, generator.config.size, generator.config.size // 2

    def noise(x: Tensor) -> Tensor:
        out: Tensor = denoiser(x, torch.zeros(len(x)), torch.zeros(len(x), layout.latent))
        return out

    def drawn(x: Tensor) -> Tensor:
        mask, zeros = torch.zeros_like(x), torch.zeros(len(x))
        mask[:, :, middle - 20 : middle + 20] = 1.0
        return generator(x, mask, zeros, None, zeros).fine  # type: ignore[no-any-return]

    with torch.no_grad():
        _print("body network", body, (1, EDGE, EDGE, EDGE))
        _print("autoencoder, encoder", autoencoder.encoder, (1, layout.size, layout.size))
        _print("autoencoder, noise predictor", noise, (1, layout.size, layout.size))
        _print("HealthiVert, generators", drawn, (1, edge, edge))
        _print("HealthiVert, classifier and attention", lambda x: attention(classifier, x), (1, edge, edge))


def _print(name: str, network: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    flat = len(shape) == 3
    took = {}
    for size in _SIZES:
        x = torch.randn(size, *shape)
        if flat:
            x = x.contiguous(memory_format=torch.channels_last)
        network(x)
        times = []
        for _ in range(_REPEATS):
            started = time.process_time()
            network(x)
            times.append(time.process_time() - started)
        took[size] = 1e3 * min(times)
    told = ", ".join(f"{size} in {ms:.1f} ms" for size, ms in took.items())
    print(f"{name}: {told}; one alone by one of two {2 * took[1] / took[2]:.2f}, by both {took[1] / took[2]:.2f}")


if __name__ == "__main__":
    main()
