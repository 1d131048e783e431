"""Style sheet of the page."""

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; color: #222;
  background: #fff; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd; padding-bottom: .2rem; }
p { margin: .5rem 0; }
.lead { font-size: 1.1rem; margin: 0 0 1.2rem; }
.warnings { border-left: 5px solid #d55e00; background: #fdf3ec; padding: .6rem 1rem; margin: 1rem 0; }
.warnings h2 { border: 0; margin: 0; font-size: 1.05rem; }
.warnings ul { margin: .3rem 0; padding-left: 1.2rem; }
.clean { border-left: 5px solid #009e73; background: #eef8f4; padding: .6rem 1rem; margin: 1rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: baseline;
  border-bottom: 1px solid #eee; }
thead th { border-bottom: 1px solid #888; font-weight: 600; }
tbody th { font-weight: 600; white-space: nowrap; }
.interval { color: #666; white-space: nowrap; }
.note, figcaption { color: #555; font-size: .9rem; }
figure { margin: 1.2rem 0; }
img { max-width: 100%; height: auto; display: block; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.2rem; font-size: .95rem; }
dt { font-weight: 600; }
dd { margin: 0; }
@media print { body { max-width: none; margin: 0; } figure { break-inside: avoid; } }
"""
