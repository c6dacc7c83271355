"""``python -m VertebralGradingLib.training SYSTEM``: training where only torch, numpy, scipy and safetensors are.

The same as ``vertebral-grading train``, without typer and rich.
"""

from __future__ import annotations

import argparse
import sys

from VertebralGradingLib.errors import VertebralGradingError
from VertebralGradingLib.training import autoencoder, healthivert, segmentation, warped
from VertebralGradingLib.training.runs import RunOptions


def main() -> None:
    """Train; prints a line for each row of the curve."""
    parser = argparse.ArgumentParser(prog="python -m VertebralGradingLib.training")
    parser.add_argument("system", choices=["segmentation", "dae", "healthivert", "counterfactual"])
    parser.add_argument("--config", default="default")
    parser.add_argument("--phantom", default="uniform")
    parser.add_argument("--view", default="sagittal", help="of healthivert: sagittal, coronal")
    parser.add_argument("--stage", default="refine", help="of counterfactual: head, refine, measured")
    parser.add_argument("--reader", help="of counterfactual, measured: weights of the body network that measures")
    parser.add_argument("--data")
    parser.add_argument("--start", help="of dae, counterfactual: folder of a run to begin with the weights of")
    parser.add_argument("--out", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--blocks", "--patches", "--slices", "--pairs", help="folder of rendered samples")
    args = parser.parse_args()

    def progress(what: str, done: int, total: int, row: dict[str, float]) -> None:
        numbers = " ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
        print(f"{what} {done}/{total} {numbers}", flush=True)

    limit = None if args.minutes is None else 60.0 * args.minutes
    options = RunOptions(args.out, args.device, args.workers, limit, args.blocks, args.data, progress)
    try:
        if args.system == "dae":
            layout = autoencoder.configured(args.config, preset=args.phantom)
            autoencoder.train_autoencoder(layout, options, args.start)
        elif args.system == "counterfactual":
            stage = warped.configured(args.stage, warped.installed_network())
            warped.train_warped(stage, options, args.start, args.reader)
        elif args.system == "healthivert":
            healthivert.train_healthivert(healthivert.configured(args.config, args.view), options)
        else:
            segmentation.train_segmentation(segmentation.configured(args.config, args.phantom), options)
    except VertebralGradingError as error:
        sys.exit(f"{error.message} {error.hint}")


if __name__ == "__main__":
    main()
