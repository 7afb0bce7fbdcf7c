//! A pattern over few letters: those that it tells apart. Whatever holds of its matches there holds of them in Unicode,
//! and its automata are small.

use std::collections::{BTreeMap, BTreeSet};

use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look, Repetition,
};

/// A pattern in which each letter stands for all that no part of the pattern tells from it. None where there are more of
/// them than bytes.
pub(super) fn fewest(pattern: &Hir) -> Option<Hir> {
    let mut sets = Vec::new();
    collect(pattern, &mut sets)?;
    Letters::of(&sets)?.said(pattern)
}

/// A letter of a pattern, as a class.
pub(super) fn one(letter: char) -> ClassUnicode {
    ClassUnicode::new([ClassUnicodeRange::new(letter, letter)])
}

/// Every class of letters that stands in a pattern, once.
fn collect(hir: &Hir, sets: &mut Vec<ClassUnicode>) -> Option<()> {
    let mut add = |set: ClassUnicode| {
        if !sets.contains(&set) {
            sets.push(set);
        }
    };
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok()?.chars().map(one).for_each(add),
        HirKind::Class(Class::Unicode(class)) => add(class.clone()),
        HirKind::Class(Class::Bytes(_)) => return None,
        HirKind::Repetition(repeated) => collect(&repeated.sub, sets)?,
        HirKind::Capture(group) => collect(&group.sub, sets)?,
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().try_for_each(|part| collect(part, sets))?;
        }
    }
    Some(())
}

struct Letters<'a> {
    sets: &'a [ClassUnicode],
    /// What each letter is in, and the byte that stands for it.
    kinds: BTreeMap<Vec<bool>, u8>,
}

impl Letters<'_> {
    fn of(sets: &[ClassUnicode]) -> Option<Letters<'_>> {
        let ranges = || sets.iter().flat_map(|set| set.ranges());
        // Between two of these all letters are in the same sets.
        let mut bounds: BTreeSet<u32> = BTreeSet::from([0]);
        bounds.extend(ranges().map(|range| u32::from(range.start())));
        bounds.extend(ranges().map(|range| u32::from(range.end()) + 1));
        let mut kinds = BTreeMap::new();
        for bound in bounds {
            let within = |range: &ClassUnicodeRange| {
                u32::from(range.start()) <= bound && bound <= u32::from(range.end())
            };
            let kind: Vec<bool> = sets.iter().map(|set| set.ranges().iter().any(within)).collect();
            let next = kinds.len();
            if let std::collections::btree_map::Entry::Vacant(free) = kinds.entry(kind) {
                free.insert(u8::try_from(next).ok()?);
            }
        }
        Some(Letters { sets, kinds })
    }

    fn class(&self, class: &ClassUnicode) -> Option<Hir> {
        let at = self.sets.iter().position(|set| set == class)?;
        let bytes = self.kinds.iter().filter(|(kind, _)| kind.get(at) == Some(&true)).map(|(_, byte)| *byte);
        let bytes = bytes.map(|byte| ClassBytesRange::new(byte, byte));
        Some(Hir::class(Class::Bytes(ClassBytes::new(bytes))))
    }

    fn all(&self, parts: &[Hir]) -> Option<Vec<Hir>> {
        parts.iter().map(|part| self.said(part)).collect()
    }

    fn said(&self, hir: &Hir) -> Option<Hir> {
        Some(match hir.kind() {
            HirKind::Empty => Hir::empty(),
            HirKind::Look(Look::Start | Look::End) => hir.clone(),
            HirKind::Look(_) => return None,
            HirKind::Literal(literal) => {
                let letters = std::str::from_utf8(&literal.0).ok()?.chars();
                Hir::concat(letters.map(|letter| self.class(&one(letter))).collect::<Option<Vec<Hir>>>()?)
            }
            HirKind::Class(Class::Unicode(class)) => self.class(class)?,
            HirKind::Class(Class::Bytes(_)) => return None,
            HirKind::Repetition(repeated) => {
                let sub = Box::new(self.said(&repeated.sub)?);
                Hir::repetition(Repetition {
                    min: repeated.min,
                    max: repeated.max,
                    greedy: repeated.greedy,
                    sub,
                })
            }
            HirKind::Capture(group) => self.said(&group.sub)?,
            HirKind::Concat(parts) => Hir::concat(self.all(parts)?),
            HirKind::Alternation(ways) => Hir::alternation(self.all(ways)?),
        })
    }
}
