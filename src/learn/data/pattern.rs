//! Paths with named holes, `Images/bus_{patient#}-{side}.png`.
//!
//! `{name}` stands for one or more characters of one file or folder name, `{name#}` for digits alone; a name that comes
//! twice stands for the same text. A pattern describes the end of a path, whatever folder it was unpacked into; letters
//! match in either case, and an ending `.gz` is looked through, since sets are republished both ways.

/// What a path put into the holes of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The folders above the described part, `""` or ending in `/`.
    pub root: String,
    /// Hole and text, in the order of the pattern.
    pub fields: Vec<(String, String)>,
}

impl Found {
    /// The text in the hole `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(hole, _)| hole == name).map(|(_, text)| text.as_str())
    }

    /// `template` with its holes filled; `None` when one is unknown.
    #[must_use]
    pub fn fill(&self, template: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}')?;
            out.push_str(before);
            out.push_str(self.get(name.trim_end_matches('#'))?);
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }
}

/// Names of the holes of a pattern, each once.
#[must_use]
pub fn holes(pattern: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for part in pattern.split('{').skip(1) {
        let name = part.split('}').next().unwrap_or_default().trim_end_matches('#');
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// A number without leading zeros; other text as it is, in lower case. Masks are numbered `1` where images are `001`.
#[must_use]
pub fn plain(text: &str) -> String {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match (digits, text.trim_start_matches('0')) {
        (true, "") => "0".to_owned(),
        (true, number) => number.to_owned(),
        (false, _) => text.to_lowercase(),
    }
}

/// Whether the end of `path` (with `/` between folders) is as `pattern` says.
#[must_use]
pub fn find(pattern: &str, path: &str) -> Option<Found> {
    let cut = path.len().saturating_sub(3);
    let path = match path.get(cut..) {
        Some(ending) if ending.eq_ignore_ascii_case(".gz") => &path[..cut],
        _ => path,
    };
    let depth = pattern.matches('/').count();
    let start = path.rmatch_indices('/').nth(depth).map_or(0, |(at, _)| at + 1);
    let mut fields = Vec::new();
    fits(pattern, &path[start..], &mut fields)
        .then(|| Found { root: path[..start].to_owned(), fields })
}

fn fits(pattern: &str, text: &str, fields: &mut Vec<(String, String)>) -> bool {
    let Some((literal, hole)) = pattern.split_once('{') else {
        return pattern.eq_ignore_ascii_case(text);
    };
    let Some(head) = text.get(..literal.len()) else { return false };
    let Some((name, after)) = hole.split_once('}') else { return false };
    if !head.eq_ignore_ascii_case(literal) {
        return false;
    }
    let text = &text[literal.len()..];
    let digits = name.ends_with('#');
    let name = name.trim_end_matches('#');
    if let Some((_, seen)) = fields.iter().find(|(hole, _)| hole == name) {
        let seen = seen.clone();
        return text.strip_prefix(seen.as_str()).is_some_and(|rest| fits(after, rest, fields));
    }
    // Digits are taken as far as they go: `{patient#}{side}` reads 263L.
    let run = text.bytes().take_while(u8::is_ascii_digit).count();
    for (at, c) in text.char_indices() {
        let end = at + c.len_utf8();
        if c == '/' || (digits && end > run) {
            return false;
        }
        if digits && end < run {
            continue;
        }
        fields.push((name.to_owned(), text[..end].to_owned()));
        if fits(after, &text[end..], fields) {
            return true;
        }
        fields.pop();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_take_one_name_each_and_repeat_themselves() {
        let found = find("Images/bus_{patient#}-{side}.png", "a/b/images/bus_0012-l.PNG");
        let found = found.expect("matches");
        assert_eq!((found.root.as_str(), found.get("patient")), ("a/b/", Some("0012")));
        assert_eq!(found.fill("bus_{patient}-{side}").as_deref(), Some("bus_0012-l"));
        assert_eq!(found.fill("{nobody}"), None);
        let twice = "{patient}/{patient}_{view}_half_sequence.nii";
        assert!(find(twice, "x/patient1/patient1_2CH_half_sequence.nii.gz").is_some());
        assert!(find(twice, "x/patient1/patient2_2CH_half_sequence.nii").is_none());
        assert!(find(twice, "x/patient1/patient1_2CH_half_sequence_gt.nii").is_none());
        // Digits keep an image apart from its masks.
        let image = "{class}/{class} ({n#}).png";
        assert!(find(image, "benign/benign (3).png").is_some());
        assert!(find(image, "benign/benign (3)_mask.png").is_none());
        assert_eq!(find("{n#}.tif", "é.tif"), None);
        let side = find("{patient#}{side}_imgUS.nii", "263L_imgUS.nii.gz").expect("matches");
        assert_eq!((side.get("patient"), side.get("side")), (Some("263"), Some("L")));
    }

    #[test]
    fn numbers_are_compared_without_their_zeros() {
        assert_eq!(
            (plain("007"), plain("000"), plain("Left")),
            ("7".into(), "0".into(), "left".into())
        );
        assert_eq!(holes("{patient}/{patient}_{view#}.nii"), ["patient", "view"]);
    }
}
