"""The look of the report and the dataset card: one style sheet, light, dark and on paper; nothing is fetched."""

STYLE = """
:root { color-scheme: light dark; --ink:#1d2733; --soft:#5b6876; --line:#dbe1e8;
  --paper:#ffffff; --wash:#f4f6f9; --good:#1b7f4b; --bad:#b3382c; --accent:#1f5fa8;
  --bar:#9db7d5; --tint:#e8f0fa; }
@media (prefers-color-scheme: dark) { :root { --ink:#e4e9ef; --soft:#9aa7b5; --line:#323c48; --paper:#14191f;
  --wash:#1c232b; --good:#5cc48d; --bad:#ec8377; --accent:#7fb2ec; --bar:#3d5c80; --tint:#1d2c3e; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--paper); color:var(--ink);
  font:15px/1.55 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; }
header { border-bottom: 3px solid var(--accent); padding-bottom: 1rem; margin-bottom: 1.5rem; }
h1 { font-size: 1.9rem; line-height:1.2; margin: 0 0 .3rem; letter-spacing:-.01em; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; }
p { margin: .4rem 0 .8rem; max-width: 46rem; } .soft { color: var(--soft); }
.lead { font-size: 1.1rem; }
.tiles { display:grid; grid-template-columns: repeat(auto-fit, minmax(10.5rem, 1fr));
  gap:.8rem; margin:1.4rem 0; }
.tile { background: var(--wash); border:1px solid var(--line); border-radius:8px; padding:.8rem 1rem; }
.tile b { display:block; font-size:1.75rem; line-height:1.2; font-variant-numeric: tabular-nums; }
.tile span { color:var(--soft); font-size:.85rem; }
.wide { overflow-x:auto; }
table { border-collapse: collapse; width:100%; font-variant-numeric: tabular-nums; }
th { text-align:left; font-weight:600; color:var(--soft); font-size:.82rem;
  border-bottom:2px solid var(--line); }
th, td { padding:.45rem .7rem .45rem 0; vertical-align: top; } td { border-bottom:1px solid var(--line); }
.num { text-align:right; white-space:nowrap; } th.num { text-align:right; }
tr.ships td { background: var(--tint); font-weight:600; } tr.ships td:first-child { padding-left:.5rem; }
code, pre, .mono { font:13px/1.5 ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; }
code { overflow-wrap:anywhere; }
svg.bar { display:block; width:11rem; height:16px; }
.bar .track { fill:var(--wash); } .bar .fill { fill:var(--bar); } .ships .bar .fill { fill:var(--accent); }
.bar .range { stroke:var(--ink); stroke-width:1.4; }
figure { margin:1rem 0; background:#fff; border:1px solid var(--line); border-radius:8px; padding: .8rem; }
figure svg { display:block; max-width:100%; height:auto; margin:0 auto; }
.better { color:var(--good); font-weight:600; } .worse { color:var(--bad); font-weight:600; }
.case { border:1px solid var(--line); border-radius:8px; margin: .9rem 0;
  overflow:hidden; break-inside:avoid; }
.case .note { background:var(--wash); padding:.6rem .9rem; white-space:pre-wrap; overflow-wrap:anywhere; }
.case .where { float:right; color:var(--soft); font-size:.78rem; margin-left:1rem; }
.case .three { display:grid; grid-template-columns: repeat(auto-fit, minmax(16rem,1fr)); }
.case .three > div { padding:.5rem .9rem .7rem; border-top:1px solid var(--line); min-width:0; }
.case .three > div + div { border-left:1px solid var(--line); }
.case h3 { font-size:.78rem; margin:0 0 .2rem; color:var(--soft); font-weight:600; }
.case pre { margin:0; white-space:pre-wrap; overflow-wrap:anywhere; }
.ok { color:var(--good); } .no { color:var(--bad); }
footer { margin-top:3rem; border-top:1px solid var(--line); padding-top:.8rem;
  color:var(--soft); font-size:.85rem; }
@media print { body { font-size:11px; } main { padding:0; max-width:none; } h2 { break-after:avoid; }
  .tile, tr.ships td { -webkit-print-color-adjust:exact; print-color-adjust:exact; }
  tr { break-inside:avoid; } }
"""
