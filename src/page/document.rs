//! The frame of a page, and its style.

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = "
:root { color-scheme: light dark; background: Canvas; color: CanvasText; --line: #8884; --heat: 0 114 178; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; } h2 { font-size: 1.2rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
p.note, caption, figcaption { opacity: .8; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } tbody th { font-weight: normal; }
th:first-child, td:first-child { text-align: left; }
td small { opacity: .8; }
tr.first th, tr.first td { border-top: 2px solid var(--line); }
svg text { fill: currentColor; font-family: system-ui, sans-serif; font-size: 12px; }
svg .grid { stroke: var(--line); } svg .zero, svg .whisker { stroke: currentColor; }
svg .bar, svg .dot { fill: currentColor; } svg .line { fill: none; stroke: currentColor; stroke-width: 2; }
div.wide svg { width: 100%; min-width: 44rem; height: auto; }
div.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(22rem, 100%), 1fr)); gap: 1.5rem; margin: 1rem 0; }
div.charts figure { margin: 0; }
div.charts svg { width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; }
dt { opacity: .8; } dd { margin: 0; overflow-wrap: anywhere; }
details { margin: .5rem 0; } summary { cursor: pointer; }
pre { white-space: pre-wrap; border-left: 3px solid var(--line); padding-left: 1rem; font-size: .87rem; }
@media (prefers-color-scheme: dark) { :root { --heat: 56 139 253; } }
@media (max-width: 36rem) { dl { grid-template-columns: auto; } dd { margin-bottom: .4rem; } }
@media print {
  body { max-width: none; margin: 0; font-size: 10pt; }
  figure, tr, dl, svg { break-inside: avoid; } h2, h3, caption, p.note { break-after: avoid; }
  div.wide { overflow: visible; } div.wide svg { min-width: 0; }
}
";

/// The colours of series, by class.
pub(super) const SERIES: &str = "
.s0 { color: #0072b2; } .s1 { color: #c04e00; } .s2 { color: #007d59; } .s3 { color: #b0578c; }
.s4 { color: #9a6a00; } .s5 { color: #1c86c4; } .s6 { color: #6f6f6f; }
@media (prefers-color-scheme: dark) {
  .s0 { color: #58a6ff; } .s1 { color: #f0883e; } .s2 { color: #2fc795; } .s3 { color: #e29bc4; }
  .s4 { color: #e6b422; } .s5 { color: #8fd3ff; } .s6 { color: #b0b0b0; }
}
";

/// A page with a title, its own style rules, and a body.
pub(crate) fn document(title: &str, style: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(SERIES)) (PreEscaped(style)) }
            }
            body { main { h1 { (title) } (body) } }
        }
    };
    page.into_string()
}

/// Wide content that scrolls separately on a narrow screen. `label` names it for keyboards and screen
/// readers.
pub(crate) fn wide(label: &str, content: &Markup) -> Markup {
    html! { div.wide role="region" aria-label=(label) tabindex="0" { (content) } }
}

/// The header of a table.
pub(crate) fn head(columns: &[&str]) -> Markup {
    html! {
        thead { tr { @for column in columns { th scope="col" { (column) } } } }
    }
}

/// Names with their values.
pub(crate) fn definitions<N: AsRef<str>, V: AsRef<str>>(
    pairs: impl IntoIterator<Item = (N, V)>,
) -> Markup {
    html! {
        dl {
            @for (name, value) in pairs {
                dt { (name.as_ref()) } dd { (value.as_ref()) }
            }
        }
    }
}
