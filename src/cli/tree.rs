//! Trees of names and numbers as lines for people; `--json` is for programs.

use serde_json::{Map, Number, Value};

/// The lines of a tree under its name: one for all the values that stand side by side, one for each branch.
pub(super) fn lines(name: &str, value: &Value) -> Vec<String> {
    let mut out = Vec::new();
    add(&mut out, 0, (name, WIDTH), value);
    out
}

/// Names are as wide at least.
const WIDTH: usize = 20;

/// Adds a tree below a name of this width.
fn add(out: &mut Vec<String>, depth: usize, (name, width): (&str, usize), value: &Value) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) if !map.values().all(is_leaf) => {
            out.push(format!("{indent}{name}"));
            let width = map.keys().map(|name| name.chars().count()).fold(WIDTH, usize::max);
            for (name, value) in in_order(map) {
                add(out, depth + 1, (name, width), value);
            }
        }
        Value::Array(rows) if !rows.iter().all(is_leaf) => {
            out.push(format!("{indent}{name}"));
            rows.iter().for_each(|row| match row {
                Value::Object(map) if map.values().all(is_leaf) => {
                    out.push(format!("{indent}  {}", told(row)));
                }
                row => add(out, depth + 1, ("-", WIDTH), row),
            });
        }
        value => out.push(format!("{indent}{name:<width$} {}", told(value))),
    }
}

/// The entries by name, numbers by what they count.
fn in_order(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut all: Vec<(&String, &Value)> = map.iter().collect();
    all.sort_by(|a, b| natord::compare(a.0, b.0));
    all
}

fn is_leaf(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

/// A value on one line.
fn told(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number_told(number),
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(told).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            let pair = |(name, value): (&String, &Value)| format!("{name}: {}", told(value));
            in_order(map).into_iter().map(pair).collect::<Vec<_>>().join(", ")
        }
    }
}

/// At most three digits behind the point; whole numbers have no point.
fn number_told(number: &Number) -> String {
    match number.as_f64() {
        Some(fraction) if number.is_f64() => ((fraction * 1e3).round() / 1e3).to_string(),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn trees_are_lines_without_braces() {
        let tree = json!({
            "usgra": {"2": 0.508, "10": 0.97},
            "mean": {"frames": 600.0, "ms": 2.000_04, "card": null},
            "rows": [{"name": "own", "bytes": 12}, {"name": "other", "bytes": 3.125}],
        });
        let wanted = [
            "dice",
            "  mean                 card: none, frames: 600, ms: 2",
            "  rows",
            "    bytes: 12, name: own",
            "    bytes: 3.125, name: other",
            "  usgra                2: 0.508, 10: 0.97",
        ];
        assert_eq!(lines("dice", &tree), wanted);
        assert_eq!(lines("frames", &json!(600.0)), ["frames               600"]);
        assert_eq!(lines("fps", &json!(12.345_678)), ["fps                  12.346"]);
    }
}
