"""Patches and blocks of phantoms in a second, and seconds per CT: on one CPU thread, and on an accelerator if any.

On the CPU its own time counts, so that other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import time

from _common import can_draw


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pool", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    if not can_draw():
        return
    import torch

    from VertebralGradingLib.phantom.dataset import DatasetOptions, PhantomDataset
    from VertebralGradingLib.phantom.imaging import Scanner
    from VertebralGradingLib.phantom.pool import draw_pool
    from VertebralGradingLib.phantom.volumes import render_ct

    pool = draw_pool(args.pool, 1, fractures=1.5)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for device in devices:
        for name, shape, batch in (
            ("patches 128 x 128", (128, 128, 1), 16 if device == "cpu" else 256),
            ("blocks 72 x 72 x 72", (72, 72, 72), 1 if device == "cpu" else 16),
            ("blocks 96 x 96 x 96", (96, 96, 96), 1 if device == "cpu" else 8),
        ):
            data = PhantomDataset(pool, 0, DatasetOptions(shape=shape, batch=batch), device)
            data.batch(0)
            clock = time.process_time if device == "cpu" else time.perf_counter
            started, count = clock(), 0
            while clock() - started < args.seconds:
                data.batch(1 + count)["image"].sum().item()
                count += 1
            rate = count * batch / (clock() - started)
            print(f"{device}: {name}: {rate:.2f} a second")
    levels = [level for level in pool[0].spine.levels if level[0] in "TL"]
    for name, scanner in (
        ("1 mm slices", Scanner()),
        ("3 mm slices", Scanner(slice_mm=3.0, step_mm=3.0)),
    ):
        started = time.process_time()
        ct = render_ct(pool[0].spine, scanner, levels).ct
        seconds = time.process_time() - started
        print(f"cpu: CT T1-L5, {name}, {' x '.join(str(n) for n in ct.array.shape)}: {seconds:.1f} s")


if __name__ == "__main__":
    main()
