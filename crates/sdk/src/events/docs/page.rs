use serde::Serialize;

use super::{Documented, Side};

const HEAD: &str = "<!DOCTYPE html>
<html lang=\"en\">
<head>
<meta charset=\"utf-8\">
<meta name=\"viewport\" content=\"width=device-width\">
<title>Events documentation</title>
<style>
body { font-family: system-ui, sans-serif; line-height: 1.5; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #ccc; margin-top: 2rem; }
h2, pre { font-family: ui-monospace, monospace; }
pre { background: #f4f4f4; padding: 1rem; overflow-x: auto; }
p { white-space: pre-line; }
</style>
</head>
<body>
<h1>Events</h1>
";

/// All text in it is escaped.
pub(super) fn html(events: &[Documented]) -> String {
    let mut page = HEAD.to_owned();
    page.push_str("<ul>\n");
    for event in events {
        let anchor = escaped(&anchor(event));
        let title = escaped(&title(event));
        page.push_str(&match event.told {
            Some(_) => format!("<li><a href=\"#{anchor}\">{title}</a></li>\n"),
            None => format!("<li>{title}</li>\n"),
        });
    }
    page.push_str("</ul>\n");
    for (index, event) in events.iter().enumerate() {
        // They are sorted: the last of a name is its highest version.
        let next = events.get(index + 1).filter(|next| next.name == event.name);
        let heading = match next {
            Some(_) => "<h2>".to_owned(),
            None => format!("<h2 id=\"{}\">", escaped(&event.name)),
        };
        section(&mut page, event, &heading);
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn section(page: &mut String, event: &Documented, heading: &str) {
    let (anchor, title) = (escaped(&anchor(event)), escaped(&title(event)));
    page.push_str(&format!(
        "<section id=\"{anchor}\">\n{heading}{title}</h2>\n"
    ));
    if let Some(told) = &event.told {
        page.push_str(&format!("<p>{}</p>\n", escaped(&told.doc)));
        side(page, "Input", &told.input);
        side(page, "Output", &told.output);
    }
    page.push_str("</section>\n");
}

fn side(page: &mut String, which: &str, side: &Side) {
    block(page, &format!("{which} Example"), &side.example);
    block(page, &format!("{which} Schema"), &side.schema);
}

fn block(page: &mut String, title: &str, json: &impl Serialize) {
    let json = serde_json::to_string_pretty(json).unwrap_or_default();
    page.push_str(&format!(
        "<h3>{title}</h3>\n<pre>{}</pre>\n",
        escaped(&json)
    ));
}

fn title(event: &Documented) -> String {
    format!("{} (Version: {})", event.name, event.version)
}

fn anchor(event: &Documented) -> String {
    format!("{}@{}", event.name, event.version)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
