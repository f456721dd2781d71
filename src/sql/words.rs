//! A set of known words, built at compile time and asked without regard to case.
//!
//! Decides how a word is looked up; which words there are is the business of `keywords` and `functions`.

/// Known words of ASCII identifier characters, each with a value. `SLOTS` is a power of two, at least twice the words.
pub(super) struct Words<V: Copy + 'static, const SLOTS: usize> {
    slots: [Option<Slot<V>>; SLOTS],
    /// For each length, the initials that some word of that length has: most identifiers are turned away here.
    initials: [u32; LONGEST + 1],
}

#[derive(Clone, Copy)]
struct Slot<V: Copy + 'static> {
    key: Key,
    word: &'static [u8],
    value: V,
}

/// The first and last eight bytes, folded. With the length this is the whole of a word of up to 16 bytes.
#[derive(Clone, Copy)]
struct Key {
    head: u64,
    tail: u64,
    length: usize,
}

const LONGEST: usize = 40;

impl<V: Copy + 'static, const SLOTS: usize> Words<V, SLOTS> {
    /// `lists`: a value, and the words that have it, in lower case with blanks between.
    pub(super) const fn new(lists: &[(V, &'static str)]) -> Self {
        assert!(SLOTS.is_power_of_two());
        let mut words = Self { slots: [None; SLOTS], initials: [0; LONGEST + 1] };
        let mut list = 0;
        while list < lists.len() {
            let (value, text) = lists[list];
            let mut rest = text.as_bytes();
            while let Some((word, after)) = first_word(rest) {
                words.add(word, value);
                rest = after;
            }
            list += 1;
        }
        words
    }

    const fn add(&mut self, word: &'static [u8], value: V) {
        let key = Key::of(word);
        let mut at = key.slot(SLOTS);
        while let Some(other) = &self.slots[at] {
            assert!(!key.equals(&other.key), "a word is listed twice");
            at = (at + 1) & (SLOTS - 1);
        }
        self.slots[at] = Some(Slot { key, word, value });
        self.initials[key.length] |= initial(word[0]);
    }

    /// The value of `word`, whatever its case.
    #[inline]
    pub(super) fn of(&self, word: &[u8]) -> Option<V> {
        let first = *word.first()?;
        if self.initials.get(word.len())? & initial(first) == 0 {
            return None;
        }
        let key = Key::of(word);
        let mut at = key.slot(SLOTS);
        while let Some(slot) = self.slots.get(at)?.as_ref() {
            if key.equals(&slot.key) && (key.length <= 16 || word.eq_ignore_ascii_case(slot.word)) {
                return Some(slot.value);
            }
            at = (at + 1) & (SLOTS - 1);
        }
        None
    }
}

/// One bit for each letter; what is not a letter shares bits with letters, which costs a look-up and no more.
const fn initial(byte: u8) -> u32 {
    1 << (byte & 31)
}

impl Key {
    /// Setting bit 5 folds letters, and maps no other two bytes of an identifier onto each other.
    const fn of(word: &[u8]) -> Self {
        const FOLD: u64 = 0x2020_2020_2020_2020;
        let (head, tail) = match (word.first_chunk::<8>(), word.last_chunk::<8>()) {
            (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
            _ => match (word.first_chunk::<4>(), word.last_chunk::<4>()) {
                (Some(head), Some(tail)) => (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64),
                _ => match *word {
                    [a] => (a as u64, 0),
                    [a, b] => (a as u64, b as u64),
                    [a, b, c] => (a as u64 | (b as u64) << 8, c as u64),
                    _ => (0, 0),
                },
            },
        };
        Self { head: head | FOLD, tail: tail | FOLD, length: word.len() }
    }

    const fn slot(&self, slots: usize) -> usize {
        let mixed = (self.head ^ self.tail.rotate_left(27)).wrapping_add(self.length as u64);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (slots - 1)
    }

    const fn equals(&self, other: &Self) -> bool {
        self.head == other.head && self.tail == other.tail && self.length == other.length
    }
}

/// The first word of a list, and what is behind it.
const fn first_word(text: &'static [u8]) -> Option<(&'static [u8], &'static [u8])> {
    let mut from = 0;
    while from < text.len() && text[from].is_ascii_whitespace() {
        from += 1;
    }
    let mut to = from;
    while to < text.len() && !text[to].is_ascii_whitespace() {
        to += 1;
    }
    if from == to {
        return None;
    }
    let (word, after) = text.split_at(from).1.split_at(to - from);
    Some((word, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    static WORDS: Words<u8, 64> =
        Words::new(&[(1, "a if for"), (2, "select\n  session_track_schema"), (3, "eighteen_letters_x abcdefgh")]);

    #[test]
    fn words_are_found_in_any_case_and_nothing_else_is() {
        let cases: [(&str, Option<u8>); 13] = [
            ("a", Some(1)),
            ("IF", Some(1)),
            ("For", Some(1)),
            ("SeLeCt", Some(2)),
            ("SESSION_TRACK_SCHEMA", Some(2)),
            ("session_trackXschema", None),
            ("session_trick_schema", None),
            ("eighteen_letters_X", Some(3)),
            ("ABCDEFGH", Some(3)),
            ("", None),
            ("selecu", None),
            ("s\u{e9}lect", None),
            ("a_word_that_is_longer_than_every_word_that_is_known", None),
        ];
        for (word, value) in cases {
            assert_eq!(WORDS.of(word.as_bytes()), value, "{word}");
        }
    }
}
