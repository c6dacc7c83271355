"""What bone and discs look like in a CT: shell, trabecular core, disc; their HU, edges softened by the scanner."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from VertebralGradingLib.phantom.points import above_of
from VertebralGradingLib.phantom.texture import noise


def soft(depth: Tensor, blur: Any) -> Tensor:
    """Share of a half space that the scanner sees at ``depth`` mm inside it: a Gaussian blur of a plane edge."""
    return 0.5 + 0.5 * torch.erf(depth / (1.41421356 * blur))


def bone_hu(u: Tensor, v: Tensor, w: Tensor, known: dict[str, Tensor], p: Any, blur: Tensor) -> tuple[Tensor, Tensor]:
    """Share of bone at points, and the HU of that share.

    Args:
        u: own coordinates (mm) to the right,
        v: to the front,
        w: up.
        known: signed depth inside ``body``, ``arch``, ``whole`` (both), ``rib`` (mm); ``core``: HU inside the body;
            ``end``: 1 where the body's nearest surface is an endplate, 0 where it is the wall.
        p: columns.
        blur: standard deviation of the scanner's blur (mm).
    """
    body, arch, rib, core, end = (known[name] for name in ("body", "arch", "rib", "core", "end"))
    bone_depth = torch.maximum(known["whole"], rib)
    in_body = soft(body + 0.7, blur)
    shell = p.shell + (p.plate_shell - p.shell) * in_body * end
    # the front wall has a thickness of its own, and none is the same all around
    front = torch.sigmoid(v / (0.25 * p.half_depth)) * (1.0 - end)
    shell = shell * (1.0 + (p.shell_front - 1.0) * front)
    wave = torch.sin(0.31 * u + 2.0 * p.phase) + torch.sin(0.47 * w + 0.23 * v + p.phase)
    shell = shell * (1.0 + 0.45 * p.shell_wave * wave)
    # the arch's bone is thicker, most of all behind the canal
    in_arch = torch.sigmoid(torch.maximum(arch, rib) - body - 0.5)
    behind = torch.sigmoid(-(v + p.half_depth + 0.6 * p.canal_depth) / 3.0)
    shell = shell + in_arch * (p.arch_shell * (0.45 + 0.55 * behind) * (1.0 + 0.2 * wave) - shell)
    share = soft(bone_depth, blur)
    inner = torch.minimum(soft(bone_depth - shell, blur), share)
    core = core * in_body + p.arch_hu * (1.0 - in_body)
    cortex = p.cortex_hu * (1.0 - 0.12 * in_body * end) * (1.0 + (p.arch_cortex - 1.0) * in_arch)
    return share, (cortex * (share - inner) + core * inner) / share.clamp_min(1e-4)


def core_hu(u: Tensor, v: Tensor, w: Tensor, parts: dict[str, Tensor], p: Any, blur: Tensor) -> Tensor:
    """HU inside the body: trabecular texture in the bone's own material, and what grew or broke there."""
    whole_height = p.height + p.wedge * v
    material = parts["x"] * whole_height / 2.0  # where this bone was before it was squeezed
    cell = p.texture_mm / 6.0
    faded = torch.exp(-2.0 * (3.14159 * blur / p.texture_mm) ** 2)
    a, b, c = u + p.tex_u, v + p.tex_v, material + p.tex_w
    fine = noise(a, b, p.tex_tall * c, cell) * faded
    coarse = noise(b, c, a, 2.6 * cell)
    coarse = coarse + p.tex_skew * (coarse * coarse - 1.0)  # patches of marrow, or islands of bone
    core = p.core_hu * (1.0 + p.core_tilt * v / p.half_depth) + p.texture_hu * (fine + p.tex_coarse * coarse)
    plate, lost = parts["plate"], parts["lost"]
    core = core + p.core_plate * p.core_hu.clamp_min(60.0) * torch.exp(-(plate.clamp_min(0.0) / 2.5))
    t = v / p.half_depth
    inside_vein = torch.exp(-((material / 1.6) ** 2)) * torch.exp(-((u / (2.5 + 5.0 * (t + 0.2).abs())) ** 2))
    core = core - p.vein * inside_vein * (0.25 - t).clamp(0.0, 1.0)
    weight = (lost / (0.1 * whole_height)).clamp_max(1.0)
    upper = p.superior >= 0.5
    from_broken = torch.where(upper, parts["top"] - w, w - parts["bottom"])
    core = core + p.band_hu * weight * torch.exp(-(((from_broken - 0.6 * p.band_mm) / p.band_mm) ** 2))
    line = torch.exp(-(((from_broken - 2.1 * p.band_mm - 0.12 * v) / 0.9) ** 2))
    core = core - p.line_hu * line * weight
    core = core + p.sclerosis_hu * torch.exp(-((plate.clamp_min(0.0) / p.sclerosis_mm.clamp_min(0.5)) ** 2))
    if bool(((p.pit_sup > 0) | (p.pit_inf > 0)).any()):
        core = core + _pit_rims(u, v, parts, p)
    core = _lesion(core, u, v, w, p, blur)
    if not bool((p.cleft_mm > 0).any()):
        return core
    # a gas (or fluid) cleft below the broken endplate, in front
    flat = (from_broken - p.cleft_at) / p.cleft_mm.clamp_min(0.3)
    reach = ((t - p.cleft_front) / 0.55) ** 2 + (u / (0.65 * p.half_width)) ** 2
    cleft = (1.0 - reach).clamp_min(0.0).sqrt() - flat.abs()
    share = soft(cleft * p.cleft_mm, blur) * (p.cleft_mm > 0)
    return core + share * (p.cleft_hu - core)


def _pit_rims(u: Tensor, v: Tensor, parts: dict[str, Tensor], p: Any) -> Tensor:
    """HU that sclerosis around Schmorl nodes adds."""
    near_sup = 1.0 - (((u - p.pit_sup_u) / (p.pit_sup_ru + 2.5)) ** 2 + ((v - p.pit_sup_v) / (p.pit_sup_rv + 2.5)) ** 2)
    near_inf = 1.0 - (((u - p.pit_inf_u) / (p.pit_inf_ru + 2.5)) ** 2 + ((v - p.pit_inf_v) / (p.pit_inf_rv + 2.5)) ** 2)
    near = torch.where(parts["x"] > 0, near_sup * (p.pit_sup > 0), near_inf * (p.pit_inf > 0)).clamp_min(0.0)
    return p.pit_rim_hu * near * torch.exp(-(parts["plate"].clamp_min(0.0) / 2.2))


def _lesion(core: Tensor, u: Tensor, v: Tensor, w: Tensor, p: Any, blur: Tensor) -> Tensor:
    """A round lesion: lysis, blastic metastasis, cement (ragged) or haemangioma (vertical stripes)."""
    if not bool((p.lesion > 0).any()):
        return core
    away = ((u - p.lesion_u) ** 2 + (v - p.lesion_v) ** 2 + (w - p.lesion_w) ** 2 + 1e-6).sqrt()
    ragged = p.lesion_rough * noise(u + p.tex_v, v + p.tex_w, w + p.tex_u, 1.6)
    inside = soft(p.lesion - away + ragged, blur) * (p.lesion > 0)
    stripes = p.lesion_stripes * noise(u + p.tex_u, v + p.tex_v, 0.08 * w + p.tex_w, 0.7)
    return core + inside * (p.lesion_hu + stripes - core)


def discs(
    u: Tensor, v: Tensor, w: Tensor, parts: dict[str, Tensor], p: Any, above: Any, blur: Tensor
) -> tuple[Tensor, Tensor]:
    """Halves of the discs above and below, with gas, calcium, fusion and bridging bone."""
    rim = (p.height + p.wedge * v + p.side_wedge * u) / 2.0
    lost_rim = torch.minimum(parts["lost"], 0.6 * rim)
    over = w - (rim - p.superior * lost_rim)
    under = -w - (rim - (1.0 - p.superior) * lost_rim)
    upper = above_of(w, 0.0)

    def column(high: Any, low: Any) -> Tensor:
        return torch.as_tensor(low + upper * (high - low))

    thick = column(above.disc, p.disc)
    outside = column(over, under)
    hu = column(above.disc_hu, p.disc_hu)
    bulge = column(above.disc_bulge, p.disc_bulge)
    bend = column(above.bend, p.bend)
    lip = column(p.lip_sup, p.lip_inf)  # a disc does not reach the tip of a lip
    wide = parts["wall"] + bulge - 0.6 * lip * torch.sigmoid(v / (0.3 * p.half_depth))
    within = torch.minimum(wide, 0.5 * thick + 1.0 + 0.55 * bend.abs() * p.half_depth + lost_rim - outside)
    share = soft(within, blur)
    # rim of the annulus denser than the nucleus
    value = hu + 18.0 * torch.exp(-((wide / 4.0) ** 2))
    calcium = column(above.disc_calcium, p.disc_calcium)
    value = value + calcium * torch.exp(-(((outside - 0.5 * thick) / 1.5) ** 2) - ((v / (0.4 * p.half_depth)) ** 2))
    gas = column(above.gas, p.gas)
    center = column(above.gas_center, p.gas_center)
    gas_hu = column(above.gas_hu, p.gas_hu)
    reach = ((v / p.half_depth - center) / 0.5) ** 2 + (u / (0.6 * p.half_width)) ** 2
    lens = gas * (1.0 - reach).clamp_min(0.0).sqrt() - (outside - 0.5 * thick).abs()
    value = value + soft(lens, blur) * (gas > 0) * (gas_hu - value)
    fused = column(above.fused, p.fused)
    value = value + fused * (p.core_hu * 1.2 - value)
    bridge = column(above.bridge, p.bridge)
    lateral = column(above.bridge_at, p.bridge_at)
    outward = -parts["wall"]
    around = ((v / p.half_depth).clamp(-1, 1) * 0.7 - ((u / p.half_width - lateral) / 0.8) ** 2).clamp_min(-1.0)
    band = torch.minimum(bridge / 2.0 - (outward - bridge / 2.0 + 0.5).abs(), 6.0 * around)
    band = torch.minimum(band, 0.5 * thick + 0.45 * p.height - outside.clamp_min(-0.45 * p.height))
    bony = soft(band, blur) * (bridge > 0)
    value = value + bony * (p.cortex_hu * 0.75 - value)
    return torch.maximum(share, bony), value
