//! The words of `WebVTT`: cues without their times and marks.

/// The words, a line for each that differs from the one before: captions by machine show each line twice, once as it
/// comes and once above the next one.
pub(crate) fn words(vtt: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for block in vtt.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n").split("\n\n") {
        // Headers, notes and styles have no time.
        let Some((_, cue)) = block.split_once("-->") else { continue };
        for line in cue.lines().skip(1) {
            let line = plain(line);
            if !line.is_empty() && lines.last() != Some(&line) {
                lines.push(line);
            }
        }
    }
    lines.join("\n")
}

/// A line without marks such as `<c>` and `<00:00:01.000>`, its references read, its white space single.
fn plain(line: &str) -> String {
    let (mut text, mut is_mark) = (String::new(), false);
    for c in line.chars() {
        match c {
            '<' => is_mark = true,
            '>' if is_mark => is_mark = false,
            c if !is_mark => text.push(c),
            _ => {}
        }
    }
    // `&amp;` last: `&amp;lt;` is the text "&lt;".
    for (reference, char) in [
        ("&nbsp;", " "),
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&lrm;", ""),
        ("&rlm;", ""),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&amp;", "&"),
    ] {
        text = text.replace(reference, char);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_stand_without_times_marks_and_headers() {
        let vtt = "\u{feff}WEBVTT\nKind: captions\nLanguage: en\n\nNOTE by hand\n\n1\n00:00:00.000 --> 00:00:05.000 align:start\n\
                   <v Anna>Good morning, &amp; welcome.\nAll lines&nbsp;are muted.\n\n00:00:05.000 --> 00:00:09.000\n&lt;music&gt;\n";
        assert_eq!(words(vtt), "Good morning, & welcome.\nAll lines are muted.\n<music>");
        assert_eq!(words("WEBVTT\r\n\r\n00:00.000 --> 00:01.000\r\none\r\n"), "one");
        assert_eq!(words("WEBVTT\n\n"), "");
    }

    #[test]
    fn what_a_machine_shows_twice_is_said_once() {
        let vtt = "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n \ngood<00:00:00.500><c> morning</c>\n\n\
                   00:00:02.000 --> 00:00:02.010\ngood morning\n \n\n\
                   00:00:02.010 --> 00:00:04.000\ngood morning\nand<00:00:03.000><c> welcome</c>\n";
        assert_eq!(words(vtt), "good morning\nand welcome");
    }
}
