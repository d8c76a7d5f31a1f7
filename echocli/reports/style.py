"""How the page looks: light and dark, on a wide screen, a phone and paper."""

CSS = """
:root {
  --paper: #fdfdfc; --panel: #f3f4f2; --ink: #1b2326; --muted: #5b686d; --line: #d5dad8;
  --blue: #14688c; --orange: #b8560f; --green: #2f7d4f; --red: #b3303a; --soft: #dfeaf0;
  --edge: #7d898d;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #14191b; --panel: #1d2427; --ink: #e6eae8; --muted: #9dabaf; --line: #39444a;
    --blue: #6fbbdc; --orange: #eb9c57; --green: #74c794; --red: #ef7f86; --soft: #233640;
    --edge: #7a888e;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
@media (prefers-reduced-motion: no-preference) { html { scroll-behavior: smooth; } }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, main { max-width: 1080px; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.5rem; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; }
h2 { font-size: 1.35rem; margin: 0 0 0.75rem; padding-top: 1.5rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1.02rem; margin: 1.75rem 0 0.5rem; }
p, ul { max-width: 46rem; margin: 0.5rem 0 0.9rem; }
section { margin-top: 2.25rem; scroll-margin-top: 0.5rem; }
.muted, figcaption, small { color: var(--muted); }
.note { border-left: 3px solid var(--orange); padding: 0.1rem 0 0.1rem 0.9rem; }
.missing { border: 1px dashed var(--line); border-radius: 6px; padding: 0.7rem 0.9rem;
  color: var(--muted); }
.missing span { white-space: normal; }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1.1rem; margin: 1.25rem 0 0;
  padding: 0.6rem 0; border-top: 1px solid var(--line); font-size: 0.95rem; }
a { color: var(--blue); text-decoration: none; }
a:hover, a:focus, p a, li a { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
main:focus { outline: none; }
.skip { position: absolute; left: -99rem; top: 0.5rem; padding: 0.5rem 0.9rem; z-index: 9;
  background: var(--paper); }
.skip:focus { left: 1.25rem; }
.hidden { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%);
  white-space: nowrap; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: 0.75rem; margin: 1.5rem 0 1rem; }
.card { background: var(--panel); border-radius: 8px; padding: 0.8rem 0.95rem; display: flex;
  flex-direction: column; }
.card b { font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card small { line-height: 1.35; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr));
  gap: 0.6rem 1.25rem; margin: 0.75rem 0 1.1rem; }
.facts dt { color: var(--muted); font-size: 0.85rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; margin: 0.75rem 0 0.2rem; }
p.csv { margin: 0 0 1.1rem; } a[download] { font-size: 0.82rem; }
table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: 0.4rem; }
caption span { display: block; position: sticky; left: 0; max-width: calc(100vw - 2.5rem); }
th, td { padding: 0.35rem 0.9rem 0.35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; }
thead th { vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 8rem; }
td.number { white-space: nowrap; }
.figures { display: grid; gap: 1.25rem 2rem; margin: 0.75rem 0; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.loops { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.9rem; margin: 0.75rem 0; }
.exemplars { display: grid; gap: 0.9rem; margin: 0.75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 15rem), 1fr)); }
.exemplars img { border-radius: 0; }
.overlays { display: grid; gap: 1rem; margin: 0.75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; border-radius: 6px; background: #000; }
.map { position: relative; padding-right: 16rem; max-width: 52rem; }
.map fieldset { border: 0; margin: 0; padding: 0; }
.map .by { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; font-size: 0.9rem; }
.map .by legend { float: left; padding: 0 1rem 0 0; color: var(--muted); }
.map .by label { white-space: nowrap; } .map .by input { accent-color: var(--blue); }
.keys { display: none; flex-wrap: wrap; gap: 0 1rem; font-size: 0.9rem; margin: 0.4rem 0; }
.ramp { display: inline-block; width: 7rem; height: 0.75rem; border-radius: 2px; }
.map .plot { aspect-ratio: 4 / 3; position: relative; border: 1px solid var(--line);
  border-radius: 6px; background: var(--panel); min-inline-size: 0; }
.plot i { position: absolute; left: var(--x); top: var(--y); width: 11px; height: 11px;
  margin: -5.5px 0 0 -5.5px; border-radius: 50%; background: var(--c);
  outline: 1px solid var(--paper); cursor: pointer; }
.plot i::after { content: ""; position: absolute; inset: -5px; border-radius: 50%; }
.plot input { position: absolute; left: var(--x); top: var(--y); opacity: 0; margin: 0; }
.plot label:hover i, .plot input:checked + i { outline: 3px solid var(--ink); z-index: 2; }
.plot input:focus-visible + i { outline: 3px solid var(--ink);
  box-shadow: 0 0 0 6px var(--blue); z-index: 3; }
.tip { position: absolute; left: calc(100% + 1.25rem); top: 0; width: 14.5rem;
  font-size: 0.9rem; background: var(--paper); visibility: hidden; }
.tip b { display: block; width: 14.5rem; height: 14.5rem; margin-bottom: 0.4rem;
  border-radius: 6px; background: #000 var(--sheet) no-repeat;
  background-size: calc(var(--columns) * 14.5rem) calc(var(--rows) * 14.5rem);
  background-position: calc(var(--u) * -14.5rem) calc(var(--v) * -14.5rem); }
.tip.none { visibility: visible; color: var(--muted); z-index: 0; }
.plot label:hover .tip { visibility: visible; z-index: 3; min-height: 100%; }
.plot input:checked ~ .tip { visibility: visible; z-index: 2; min-height: 100%; }
.across { font-size: 0.85rem; margin: 0.3rem 0 0; }
@media (max-width: 46rem) {
  .map { padding-right: 0; }
  .map .plot { margin-bottom: 8.5rem; }
  .tip { left: 0; top: calc(100% + 0.6rem); width: 100%; height: 7.5rem;
    min-height: 0 !important; display: flex; gap: 0.8rem; }
  .tip b { width: 7.25rem; height: 7.25rem; flex: none;
    background-size: calc(var(--columns) * 7.25rem) calc(var(--rows) * 7.25rem);
    background-position: calc(var(--u) * -7.25rem) calc(var(--v) * -7.25rem); }
}
.map:has(.by-0:checked) .keys-0 { display: flex; }
.map:has(.by-0:checked) .plot i { --c: var(--c0); }
.map:has(.by-1:checked) .keys-1 { display: flex; }
.map:has(.by-1:checked) .plot i { --c: var(--c1); }
.map:has(.by-2:checked) .keys-2 { display: flex; }
.map:has(.by-2:checked) .plot i { --c: var(--c2); }
.map:has(.by-3:checked) .keys-3 { display: flex; }
.map:has(.by-3:checked) .plot i { --c: var(--c3); }
.map:has(.by-4:checked) .keys-4 { display: flex; }
.map:has(.by-4:checked) .plot i { --c: var(--c4); }
.map:has(.by-5:checked) .keys-5 { display: flex; }
.map:has(.by-5:checked) .plot i { --c: var(--c5); }
.map:has(.by-6:checked) .keys-6 { display: flex; }
.map:has(.by-6:checked) .plot i { --c: var(--c6); }
.map:has(.by-7:checked) .keys-7 { display: flex; }
.map:has(.by-7:checked) .plot i { --c: var(--c7); }
.flow { list-style: none; padding: 0; margin: 1rem 0 1.5rem; }
.flow > li { display: grid; grid-template-columns: minmax(0, 22rem) minmax(0, 1fr);
  gap: 0 2.5rem; align-items: center; position: relative; margin-bottom: 2.1rem; }
.flow > li.row { grid-template-columns: repeat(auto-fit, minmax(min(100%, 15rem), 1fr));
  gap: 1rem; align-items: start; }
.flow > li:not(:last-child)::after { content: "\\2193"; position: absolute; left: 1.2rem;
  bottom: -1.8rem; font-size: 1.2rem; line-height: 1.4rem; color: var(--muted); }
.box { background: var(--panel); border: 1px solid var(--edge); border-radius: 8px;
  padding: 0.6rem 0.9rem; }
.box span { display: block; font-size: 0.9rem; color: var(--muted); overflow-wrap: anywhere; }
.out { border-left: 3px solid var(--orange); padding: 0 0 0 0.8rem; font-size: 0.9rem;
  align-self: center; position: relative; }
.out ul { margin: 0; padding-left: 1.1rem; }
.row .out { margin-top: 0.5rem; }
@media (max-width: 40rem) { .flow > li { grid-template-columns: 1fr; gap: 0.6rem; } }
.still { display: none !important; }
:root:has(#hold:checked) .moving { display: none; }
:root:has(#hold:checked) .still { display: block !important; }
.hold { margin: 0.9rem 0 0; } .hold input { accent-color: var(--blue); }
@media (prefers-reduced-motion: reduce) {
  .moving, .hold { display: none !important; } .still { display: block !important; }
}
figure svg { display: block; max-width: 100%; height: auto; overflow: visible; }
figure svg * { stroke-linejoin: round; stroke-linecap: butt; }
figure svg text { font-family: inherit !important; }
figcaption { font-size: 0.88rem; line-height: 1.45; margin-top: 0.4rem; max-width: 30rem; }
pre { background: var(--panel); border-radius: 6px; padding: 0.8rem 0.95rem; overflow-x: auto;
  font-size: 0.86rem; line-height: 1.5; }
code { font-family: ui-monospace, "Cascadia Code", "SF Mono", Menlo, Consolas, monospace;
  font-size: 0.92em; }
pre code { font-size: 1em; }
details { margin: 0.5rem 0; }
summary { cursor: pointer; color: var(--blue); }
.key { display: inline-block; width: 0.75rem; height: 0.75rem; border-radius: 2px; }
main { padding-bottom: 4rem; }
@media (max-width: 40rem) {
  header { padding-top: 1.5rem; }
  h1 { font-size: 1.6rem; }
  .cards { grid-template-columns: repeat(2, 1fr); }
  .loops, .exemplars { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 0.6rem; }
  .facts { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media print {
  nav, .hold, .skip, a[download] { display: none; }
  body { font-size: 10pt; } header, main { max-width: none; padding: 0; }
  h2, h3 { break-after: avoid; } figure, tr, .card, .flow li { break-inside: avoid; }
  a { color: inherit; } .wide { overflow: visible; } table { font-size: 8.5pt; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; } .plot i, .key, .ramp, .map .plot {
    print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details pre { columns: 3; font-size: 6.5pt; line-height: 1.3; padding: 0; }
  .map { padding-right: 0; max-width: 26rem; } .map .plot { margin-bottom: 0; }
  .tip, .map .by { display: none !important; }
  details::details-content { content-visibility: visible; block-size: auto; }
  .moving { display: none !important; } .still { display: block !important; }
  .figures, .overlays { grid-template-columns: repeat(2, 1fr); }
  .loops, .exemplars { grid-template-columns: repeat(4, 1fr); gap: 0.5rem; }
}
"""
