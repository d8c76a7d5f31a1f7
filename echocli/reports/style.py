"""How the page looks: light and dark, on a wide screen, a phone and paper."""

CSS = """
:root {
  --paper: #fdfdfc; --panel: #f3f4f2; --ink: #1b2326; --muted: #5b686d; --line: #d5dad8;
  --blue: #14688c; --orange: #b8560f; --green: #2f7d4f; --red: #b3303a; --soft: #dfeaf0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14191b; --panel: #1d2427; --ink: #e6eae8; --muted: #9dabaf; --line: #39444a;
    --blue: #6fbbdc; --orange: #eb9c57; --green: #74c794; --red: #ef7f86; --soft: #233640;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
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
a:hover, a:focus { text-decoration: underline; }
a:focus-visible, summary:focus-visible { outline: 2px solid var(--blue); outline-offset: 2px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: 0.75rem; margin: 1.5rem 0 1rem; }
.card { background: var(--panel); border-radius: 8px; padding: 0.8rem 0.95rem; display: flex;
  flex-direction: column; }
.card b { font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.card small { line-height: 1.35; }
.bars { display: grid; gap: 0.35rem; margin: 0.75rem 0 1rem; }
.bar { display: grid; grid-template-columns: 11rem minmax(4rem, 1fr) 3rem 16rem;
  gap: 0.75rem; align-items: center; }
.bar i { height: 0.8rem; border-radius: 3px; background: var(--soft); position: relative;
  overflow: hidden; }
.bar i::after { content: ""; position: absolute; inset: 0; width: var(--share);
  background: var(--blue); }
.bar b { text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; }
.bar small { line-height: 1.3; }
.facts { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr));
  gap: 0.6rem 1.25rem; margin: 0.75rem 0 1.1rem; }
.facts dt { color: var(--muted); font-size: 0.85rem; }
.facts dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; margin: 0.75rem 0 1.1rem; }
table { border-collapse: collapse; font-size: 0.93rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: 0.4rem; }
th, td { padding: 0.35rem 0.9rem 0.35rem 0; text-align: left; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; }
td.number { white-space: nowrap; }
.figures { display: grid; gap: 1.25rem 2rem; margin: 0.75rem 0; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); }
.loops { display: grid; grid-template-columns: repeat(4, 1fr); gap: 0.9rem; margin: 0.75rem 0; }
.overlays { display: grid; gap: 1rem; margin: 0.75rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure img { display: block; width: 100%; border-radius: 6px; background: #000; }
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
  .bar { grid-template-columns: 1fr 2.5rem; gap: 0.1rem 0.6rem; }
  .bar i { grid-column: 1; } .bar span { grid-column: 1 / -1; }
  .bar small { grid-column: 1 / -1; margin-bottom: 0.4rem; }
  .cards { grid-template-columns: repeat(2, 1fr); }
  .loops { grid-template-columns: repeat(2, 1fr); }
}
@media print {
  nav { display: none; } body { font-size: 11pt; } section, figure { break-inside: avoid; }
  a { color: inherit; } pre { white-space: pre-wrap; } details > * { display: block; }
}
"""
