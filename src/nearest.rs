//! What a misspelt word most likely stands for.

/// What makes a word likely, from 0 (nothing in common) to 1 (the same).
const LIKENESS: f64 = 0.8;

/// The word among `known` that `word` most likely stands for, if any.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let with_likeness = known.into_iter().map(|it| (strsim::jaro_winkler(word, it), it));
    let likely = with_likeness.filter(|(likeness, _)| *likeness > LIKENESS);
    likely.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, it)| it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_word_or_none() {
        let known = ["recreate-strategy", "single-replica", "slow-readiness"];
        for (word, expected) in [
            ("single-replicas", Some("single-replica")),
            ("singel-replica", Some("single-replica")),
            ("slow-rediness", Some("slow-readiness")),
            ("recreate", Some("recreate-strategy")),
            ("replicas", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word:?}");
        }
        assert_eq!(nearest("a", []), None);
    }
}
