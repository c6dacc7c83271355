"""The page's style sheet: light on every theme, and for paper."""

from __future__ import annotations

CSS = """
:root { color-scheme: only light; }
* { box-sizing: border-box; }
html { background: #ffffff; }
body { margin: 0 auto; max-width: 1120px; padding: 28px 32px 40px; background: #ffffff; color: #1f2328;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
h1 { font-size: 25px; line-height: 1.25; margin: 0 0 10px; font-weight: 650; }
h2 { font-size: 17px; margin: 34px 0 12px; padding-bottom: 5px; border-bottom: 1px solid #d5dade; font-weight: 650; }
p { margin: 0 0 10px; max-width: 100ch; }
small { font-size: 12px; color: #57606a; }
.warning { border-left: 4px solid #D55E00; background: #fff3e6; padding: 7px 12px; margin: 6px 0 0;
           font-weight: 600; max-width: none; }
.use { border-left: 4px solid #1f2328; background: #f1f3f5; padding: 7px 12px; margin: 0; max-width: none;
  font-weight: 600; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 18px 0 14px; }
.tiles > div { flex: 1 1 170px; border: 1px solid #d5dade; border-radius: 6px; padding: 10px 14px; }
.tiles b { display: block; font-size: 21px; line-height: 1.35; font-weight: 650; }
.tiles span.what { font-size: 12.5px; color: #57606a; }
.swatch { display: inline-block; width: .78em; height: .78em; margin-right: .45em; border: 1px solid #1f2328;
  border-radius: 2px; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
ul.findings { list-style: none; margin: 0; padding: 0; }
ul.findings li { padding: 4px 0 4px 1.3em; text-indent: -1.3em; max-width: 92ch; }
.key { margin: 10px 0 0; font-size: 13px; color: #3d444b; }
.key span.item { display: inline-block; margin-right: 18px; white-space: nowrap; }
svg { display: block; max-width: 100%; height: auto; -webkit-print-color-adjust: exact; print-color-adjust: exact; }
.overview { display: flex; flex-wrap: wrap; gap: 20px 32px; align-items: flex-start; }
.overview aside { flex: 1 1 240px; max-width: 330px; }
.overview aside .key { margin: 0 0 14px; }
.overview aside .key span.item { display: block; margin: 0 0 4px; }
.profile svg { width: 100%; }
.strip { display: grid; grid-template-columns: repeat(auto-fill, minmax(176px, 1fr)); gap: 16px 14px; }
.strip figure { margin: 0; break-inside: avoid; }
.strip svg { width: 100%; }
.drawn { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px 18px; }
.drawn figure { margin: 0; break-inside: avoid; }
.drawn img { width: 100%; max-width: 384px; }
.drawn.wide-pictures { grid-template-columns: minmax(0, 1fr); }
.drawn.wide-pictures img { max-width: 1548px; }
details { margin-top: 4px; }
figcaption { font-size: 13px; line-height: 1.4; margin-top: 5px; }
figcaption small { display: block; font-variant-numeric: tabular-nums; white-space: nowrap; }
figcaption small.t { white-space: normal; overflow-wrap: anywhere; }
.note { margin-top: 10px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 13px; line-height: 1.4; }
th, td { padding: 4px 7px; text-align: left; vertical-align: top; border-bottom: 1px solid #e3e7ea; }
thead th { background: #f1f3f5; font-weight: 600; vertical-align: bottom; border-bottom: 1px solid #b9c0c6; }
thead th[colspan] { text-align: center; border-bottom: 1px solid #d5dade; }
table.all td { white-space: nowrap; }
table.all td.t { white-space: normal; min-width: 90px; font-size: 12.5px; }
td.r { text-align: right; padding-right: 11px; }
th.r { text-align: right; }
td.n { font-variant-numeric: tabular-nums; }
table.pairs { width: auto; }
table.pairs th { font-weight: 400; color: #57606a; padding-right: 22px; white-space: nowrap; }
table.pairs td { overflow-wrap: anywhere; }
ul.notes { margin: 0; padding-left: 20px; max-width: 86ch; }
ul.notes li { margin-bottom: 5px; }
footer { margin-top: 36px; }
@media print {
  @page { size: A4; margin: 12mm 11mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  h2 { break-after: avoid; margin-top: 20px; }
  .tiles { flex-wrap: nowrap; margin: 12px 0 10px; }
  .tiles > div { flex: 1 1 0; padding: 5px 10px; }
  .tiles b { font-size: 14pt; white-space: nowrap; }
  .tiles span.what { font-size: 7.5pt; }
  .wide { overflow: visible; }
  .overview { flex-wrap: nowrap; gap: 14px; }
  .overview svg { max-height: 165mm; width: auto; min-width: 0; flex: 0 1 auto; }
  .overview aside { flex: 1 0 125px; }
  .strip { grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 12px 10px; }
  .drawn { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px 18px; }
.drawn figure { margin: 0; break-inside: avoid; }
.drawn img { width: 100%; max-width: 384px; }
figcaption { font-size: 8.5pt; }
  figcaption small { font-size: 7pt; }
  table { font-size: 7.5pt; }
  th, td { padding: 2.5px 4px; }
  table.all td.t { font-size: 7pt; min-width: 70px; }
  td.r { padding-right: 5px; }
  tr, .overview, .profile, ul.findings li { break-inside: avoid; }
  thead { display: table-header-group; }
  thead th, .use { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
"""
