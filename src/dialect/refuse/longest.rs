//! Whether what the engine finds of a regular expression is what Postgres finds. Both take the match that begins first;
//! of those that begin there the engine takes the one that its preferences reach first, and Postgres the longest. And of
//! the ways to share a match among the groups Postgres takes the one whose parts, from the left, are longest.

use std::collections::{HashMap, HashSet};

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input, MatchKind};
use regex_syntax::hir::{Class, ClassUnicode, Hir, HirKind};

use super::letters;

/// States of both automata together; more are not looked at.
const STATES: usize = 20_000;
const CACHE: usize = 32 << 20;
/// Letters of a pattern, each counted once however often it repeats.
const LETTERS: usize = 300;

/// Whether the match that is found first is always the longest. None where the pattern is too large to be sure.
pub(super) fn is_found_first(pattern: &str) -> Option<bool> {
    let few = letters::fewest(&regex_syntax::parse(pattern).ok()?)?;
    let config = thompson::Config::new().utf8(false).nfa_size_limit(Some(CACHE));
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(&few).ok()?;
    let mut first = Automaton::of(&nfa, MatchKind::LeftmostFirst)?;
    let mut all = Automaton::of(&nfa, MatchKind::All)?;
    let mut seen: HashSet<(LazyStateID, LazyStateID)> = HashSet::new();
    let mut ahead = Vec::new();
    // A match may begin with the text or within it.
    for start in [0, 1] {
        let pair = (first.start(start)?, all.start(start)?);
        if seen.insert(pair) {
            ahead.push(pair);
        }
    }
    let bytes: Vec<u8> =
        first.dfa.byte_classes().representatives(0..=255).filter_map(|unit| unit.as_u8()).collect();
    while let Some((one, other)) = ahead.pop() {
        if all.ends(other)? && !first.ends(one)? {
            return Some(false);
        }
        for byte in &bytes {
            let pair = (first.after(one, *byte)?, all.after(other, *byte)?);
            if pair.1.is_match() && !pair.0.is_match() {
                return Some(false);
            }
            if !pair.1.is_dead() && seen.insert(pair) {
                ahead.push(pair);
            }
        }
        if seen.len() > STATES {
            return None;
        }
    }
    Some(true)
}

struct Automaton {
    dfa: DFA,
    cache: Cache,
}

impl Automaton {
    fn of(nfa: &thompson::NFA, kind: MatchKind) -> Option<Self> {
        let config = DFA::config().match_kind(kind).cache_capacity(CACHE);
        let dfa = DFA::builder().configure(config).build_from_nfa(nfa.clone()).ok()?;
        let cache = dfa.create_cache();
        Some(Self { dfa, cache })
    }

    fn start(&mut self, at: usize) -> Option<LazyStateID> {
        let input = Input::new("  ").range(at..).anchored(Anchored::Yes);
        self.dfa.start_state_forward(&mut self.cache, &input).ok()
    }

    /// What was reached has no name any more once the cache is emptied.
    fn after(&mut self, state: LazyStateID, byte: u8) -> Option<LazyStateID> {
        let next = self.dfa.next_state(&mut self.cache, state, byte).ok();
        next.filter(|next| !next.is_quit() && self.cache.clear_count() == 0)
    }

    /// Whether something matches when the text ends here.
    fn ends(&mut self, state: LazyStateID) -> Option<bool> {
        Some(self.dfa.next_eoi_state(&mut self.cache, state).ok()?.is_match())
    }
}

/// Whether a match is shared among the groups of a pattern as Postgres shares it.
pub(super) fn is_shared_alike(pattern: &str) -> bool {
    regex_syntax::parse(pattern).is_ok_and(|pattern| groups(&pattern) == 0 || is_settled(&pattern))
}

fn groups(hir: &Hir) -> usize {
    hir.properties().explicit_captures_len()
}

/// Whether its groups share a text that it matches whole as in Postgres.
fn is_settled(hir: &Hir) -> bool {
    match hir.kind() {
        _ if groups(hir) == 0 => true,
        HirKind::Capture(group) => is_settled(&group.sub),
        HirKind::Concat(parts) => {
            let pieces = pieces(parts);
            // Where those behind it have one length, a piece ends where it must.
            let free = pieces.iter().rposition(|piece| piece.iter().any(|part| length(part).is_none()));
            pieces.iter().enumerate().all(|(at, piece)| {
                piece.iter().all(|part| is_settled(part))
                    && (Some(at) >= free || takes_the_longest_first(piece))
            })
        }
        HirKind::Repetition(repeated) if repeated.max != Some(1) && skips_a_group(&repeated.sub) => false,
        _ => is_unambiguous(hir),
    }
}

/// Whether a text can pass it by a way on which a group has no part: of several rounds Postgres clears what an earlier one
/// has matched there, and the engine keeps it.
fn skips_a_group(hir: &Hir) -> bool {
    match hir.kind() {
        _ if groups(hir) == 0 => false,
        HirKind::Alternation(_) => true,
        HirKind::Repetition(repeated) => repeated.min == 0 || skips_a_group(&repeated.sub),
        HirKind::Capture(group) => skips_a_group(&group.sub),
        HirKind::Concat(parts) => parts.iter().any(skips_a_group),
        _ => false,
    }
}

/// Parts without groups that stand side by side are one to Postgres.
fn pieces(parts: &[Hir]) -> Vec<Vec<&Hir>> {
    let mut pieces: Vec<Vec<&Hir>> = Vec::new();
    let mut joins = false;
    for part in parts {
        let plain = groups(part) == 0;
        match pieces.last_mut() {
            Some(piece) if plain && joins => piece.push(part),
            _ => pieces.push(vec![part]),
        }
        joins = plain;
    }
    pieces
}

/// Whether of all texts that it may take at a place it prefers the longer ones.
fn takes_the_longest_first(piece: &[&Hir]) -> bool {
    if let [part] = piece
        && let HirKind::Capture(group) = part.kind()
    {
        return match group.sub.kind() {
            HirKind::Concat(parts) => takes_the_longest_first(&parts.iter().collect::<Vec<_>>()),
            _ => takes_the_longest_first(&[&group.sub]),
        };
    }
    let mut varying = piece.iter().filter(|part| length(part).is_none());
    match (varying.next(), varying.next()) {
        (None, _) => true,
        (Some(part), None) if repeats_one_letter(part) => true,
        _ => is_unambiguous(&Hir::concat(piece.iter().map(|part| (*part).clone()).collect())),
    }
}

fn repeats_one_letter(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repeated) => {
            repeated.greedy && groups(hir) == 0 && length(&repeated.sub) == Some(1)
        }
        _ => false,
    }
}

/// The number of letters of all texts that it takes, if that is one.
fn length(hir: &Hir) -> Option<usize> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(0),
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(|text| text.chars().count()),
        HirKind::Class(_) => Some(1),
        HirKind::Capture(group) => length(&group.sub),
        HirKind::Concat(parts) => parts.iter().map(length).sum(),
        HirKind::Alternation(ways) => {
            let first = length(ways.first()?)?;
            ways.iter().all(|way| length(way) == Some(first)).then_some(first)
        }
        HirKind::Repetition(repeated) => {
            let times = Some(repeated.min).filter(|least| repeated.max == Some(*least))?;
            length(&repeated.sub)?.checked_mul(usize::try_from(times).ok()?)
        }
    }
}

/// Whether a text's next letter always says which letter of the pattern it is: there is one way to match then, and what
/// repeats goes on while it can.
fn is_unambiguous(hir: &Hir) -> bool {
    let mut positions = Positions::default();
    match positions.of(hir) {
        Some(part) => positions.are_apart(&part.first) && positions.follow_apart(),
        None => false,
    }
}

/// Each letter of a pattern, and those that may follow it.
#[derive(Default)]
struct Positions {
    letters: Vec<ClassUnicode>,
    follow: HashMap<usize, Vec<usize>>,
}

/// Where a part of a pattern may begin and end.
#[derive(Default)]
struct Part {
    empty: bool,
    first: Vec<usize>,
    last: Vec<usize>,
}

impl Positions {
    fn letter(&mut self, class: ClassUnicode) -> Option<Part> {
        let at = self.letters.len();
        self.letters.push(class);
        (at < LETTERS).then(|| Part { empty: false, first: vec![at], last: vec![at] })
    }

    /// None where there is more than one way already.
    fn of(&mut self, hir: &Hir) -> Option<Part> {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => Some(Part { empty: true, ..Part::default() }),
            HirKind::Literal(literal) => {
                let mut whole = Part { empty: true, ..Part::default() };
                for letter in std::str::from_utf8(&literal.0).ok()?.chars() {
                    let next = self.letter(letters::one(letter))?;
                    whole = self.behind(whole, next)?;
                }
                Some(whole)
            }
            HirKind::Class(Class::Unicode(class)) => self.letter(class.clone()),
            HirKind::Class(Class::Bytes(_)) => None,
            HirKind::Capture(group) => self.of(&group.sub),
            HirKind::Concat(parts) => {
                let mut whole = Part { empty: true, ..Part::default() };
                for part in parts {
                    let next = self.of(part)?;
                    whole = self.behind(whole, next)?;
                }
                Some(whole)
            }
            HirKind::Alternation(ways) => {
                let mut whole = Part::default();
                for way in ways {
                    let way = self.of(way)?;
                    if way.empty {
                        return None;
                    }
                    whole.first.extend(way.first);
                    whole.last.extend(way.last);
                }
                Some(whole)
            }
            HirKind::Repetition(repeated) => {
                let part = self.of(&repeated.sub)?;
                if part.empty || !repeated.greedy {
                    return None;
                }
                if repeated.max != Some(1) {
                    self.join(&part.last, &part.first)?;
                }
                Some(Part { empty: repeated.min == 0, ..part })
            }
        }
    }

    fn behind(&mut self, before: Part, next: Part) -> Option<Part> {
        self.join(&before.last, &next.first)?;
        let mut first = before.first;
        if before.empty {
            first.extend(&next.first);
        }
        let mut last = next.last;
        if next.empty {
            last.extend(before.last);
        }
        Some(Part { empty: before.empty && next.empty, first, last })
    }

    /// None where one way leads there already.
    fn join(&mut self, from: &[usize], to: &[usize]) -> Option<()> {
        for before in from {
            let follow = self.follow.entry(*before).or_default();
            for next in to {
                if follow.contains(next) {
                    return None;
                }
                follow.push(*next);
            }
        }
        Some(())
    }

    fn are_apart(&self, positions: &[usize]) -> bool {
        positions.iter().enumerate().all(|(at, one)| {
            positions.iter().skip(at + 1).all(|other| {
                let (Some(one), Some(other)) = (self.letters.get(*one), self.letters.get(*other)) else {
                    return false;
                };
                let mut both = one.clone();
                both.intersect(other);
                both.ranges().is_empty()
            })
        })
    }

    fn follow_apart(&self) -> bool {
        self.follow.values().all(|next| self.are_apart(next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_that_is_found_first_is_told_from_the_longest() {
        for longest in [
            "-|_",
            "foobar|foo",
            "(GmbH|AG)$",
            r"^\s+|\s+$",
            "x(a|b)+y(c|d)",
            ".*-.*",
            "(a|b)|c",
            r"\.|,",
            "[a-z]+[a-z0-9]*",
            "a?b?",
            r"\d{1,3}(\.\d{3})*",
            "^(.*)-(\\d+)$",
            "x|X",
            "a|",
        ] {
            assert_eq!(is_found_first(longest), Some(true), "{longest}");
        }
        for other in [
            "a|ab",
            "^a|ab$",
            "a*|b",
            "foo|foobar",
            "a?(ab)?",
            "x*(b|xbb)",
            "|a",
            "a??",
            ".*?b",
            "(ab?|bc)+",
            "x?(xa)?",
        ] {
            assert_eq!(is_found_first(other), Some(false), "{other}");
        }
    }

    #[test]
    fn groups_that_share_a_match_in_one_way_are_told_from_others() {
        for alike in [
            "^(.*)-(\\d+)$",
            r"(\w+)\s+(\w+)",
            r"(\d{4})-(\d{2})-(\d{2})",
            r"^(\d+)(\.\d+)?$",
            r"(\.\w+)*@(.*)",
            r"\s*(\w+)\s*=\s*(.*)",
            "(GmbH|AG)$",
            "^(Dr|Prof)\\. (.*)$",
            r"(\d{1,3}\.){3}(\d+)",
            "(?:https?://)?([^/]+)",
            "^([^@]+)@([a-z.]+\\.[a-z]+)$",
            ".*[^0-9]([0-9]+)",
            "((a)b)+",
        ] {
            assert!(is_shared_alike(alike), "{alike}");
        }
        for other in [
            "(a?(ab)?)(b?)",
            "a?(?:ab)?(b?)",
            "(a|ab)(c|bcd)?",
            "(a+)+",
            "(a|ab)*(b?)",
            "((a)|b)+",
            "((a)?b)+",
            "(?:(k[0-9])=(v)?;)+",
            "((a)*b){2}",
            "(.*-\\d+)(.*)x",
        ] {
            assert!(!is_shared_alike(other), "{other}");
        }
    }
}
