"""How the audit pages look: light and dark, on a screen, a phone and paper."""

CSS = """
:root { --paper: #fdfdfc; --ink: #1b2326; --muted: #55636a; --line: #d3d9d7; --link: #14688c;
  --good: #1f6b41; --bad: #a3242f; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --paper: #14191b; --ink: #e6eae8;
  --muted: #a3b0b5; --line: #39444a; --link: #7cc3e2; --good: #7ccb9c; --bad: #f08a91; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
header, main { max-width: 1120px; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 2.25rem; }
main { padding-bottom: 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 0.3rem; }
h2 { font-size: 1.3rem; margin: 2.25rem 0 0.6rem; padding-top: 1.3rem;
  border-top: 1px solid var(--line); }
p, ul, ol { max-width: 46rem; margin: 0.5rem 0 0.9rem; }
li { margin: 0.3rem 0; }
a { color: var(--link); }
a:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
nav { display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; padding: 0.7rem 0; }
.muted, figcaption, caption { color: var(--muted); }
.counts { display: grid; gap: 1rem; margin: 1.25rem 0;
  grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); }
.counts div { border-top: 3px solid var(--line); padding-top: 0.4rem; }
.counts dt { color: var(--muted); font-size: 0.92rem; }
.counts dd { margin: 0; font-size: 1.7rem; line-height: 1.3;
  font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.95rem; width: 100%; max-width: 62rem; }
caption { text-align: left; padding-bottom: 0.4rem; }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 1rem 0.4rem 0;
  border-bottom: 1px solid var(--line); }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.good { color: var(--good); font-weight: 600; white-space: nowrap; }
.bad { color: var(--bad); font-weight: 600; white-space: nowrap; }
.sheet { display: grid; gap: 1rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); }
.sheet.large { grid-template-columns: repeat(auto-fill, minmax(min(100%, 32rem), 1fr)); }
figure { margin: 0; break-inside: avoid; content-visibility: auto;
  contain-intrinsic-size: auto 21rem auto 9rem; }
figure img { display: block; width: 100%; height: auto; background: #000;
  border-radius: 4px; }
figcaption { font: 0.8rem/1.4 ui-monospace, "SF Mono", Menlo, Consolas, monospace;
  margin-top: 0.25rem; overflow-wrap: anywhere; }
.sign { break-inside: avoid; border: 1px solid var(--line); border-radius: 6px;
  padding: 0.4rem 1.2rem 1.2rem; max-width: 46rem; }
.sign dl { display: grid; grid-template-columns: 16rem 1fr; gap: 1.3rem 1rem;
  margin: 1.2rem 0; }
.sign dt { align-self: end; } .sign dd { margin: 0; min-height: 1.6rem;
  border-bottom: 1px solid var(--ink); }
@media (max-width: 40rem) { h1 { font-size: 1.55rem; } header { padding-top: 1.25rem; }
  .sign dl { grid-template-columns: 1fr; gap: 0.4rem; } .sign dd { margin-bottom: 0.8rem; }
  .counts { grid-template-columns: 1fr 1fr; } }
@media print {
  :root { --paper: #fff; --ink: #000; --muted: #444; --line: #bbb; --link: #000;
    --good: #000; --bad: #000; }
  body { font-size: 10.5pt; } nav { display: none; } header, main { max-width: none; }
  figure { content-visibility: visible; } h2 { break-after: avoid; }
  table { break-inside: avoid; }
  .sheet { grid-template-columns: repeat(3, 1fr); }
  .sheet.large { grid-template-columns: repeat(2, 1fr); }
}
"""
"""Text has a contrast of at least 4.5 to 1 with its background (WCAG 2.2, 1.4.3)."""
