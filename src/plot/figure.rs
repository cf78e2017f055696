//! The frame of a plot as an SVG file: title and style, for light and dark pages.

use maud::{Markup, PreEscaped, html};

/// An SVG file of this width and height with `title` above `content`. `rules` are style rules of
/// the content.
pub(super) fn figure(
    title: &str,
    (width, height): (f64, f64),
    rules: &str,
    content: &Markup,
) -> String {
    let style = format!(
        "
        svg {{ color: #1f2328; font-family: system-ui, sans-serif; font-size: 12px; }}
        text {{ fill: currentColor; }} {rules}
        @media (prefers-color-scheme: dark) {{ svg {{ color: #e6edf3; }} }}"
    );
    let svg = html! {
        svg xmlns="http://www.w3.org/2000/svg" width=(width) height=(height)
            viewBox=(format!("0 0 {width} {height}")) role="img" aria-label=(title) {
            style { (PreEscaped(style)) }
            text x="12" y="20" font-size="16" font-weight="600" { (title) }
            (content)
        }
    };
    svg.into_string() + "\n"
}
