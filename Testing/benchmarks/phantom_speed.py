"""Patches and blocks of phantoms in a second, on one CPU thread and on an accelerator where there is one."""

from __future__ import annotations

import argparse
import time


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pool", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    try:
        import torch
    except ModuleNotFoundError as error:
        print(f"skipped: {error}")
        return
    from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
    from VertebralGradingLib.phantom.pool import draw_pool

    torch.set_num_threads(1)
    pool = draw_pool(args.pool, 1, fractures=1.5)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        for name, shape, batch in (
            ("patches 128 x 128", (128, 128, 1), 16 if device == "cpu" else 256),
            ("blocks 96 x 96 x 96", (96, 96, 96), 1 if device == "cpu" else 8),
        ):
            data = PhantomDataset(pool, 0, DatasetOptions(shape=shape, batch=batch), device)
            data.batch(0)
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < args.seconds:
                data.batch(1 + count)["image"].sum().item()
                count += 1
            rate = count * batch / (time.perf_counter() - started)
            print(f"{device}: {name}: {rate:.2f} a second")


if __name__ == "__main__":
    main()
