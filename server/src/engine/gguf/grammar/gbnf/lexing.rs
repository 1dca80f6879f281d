//! Which parts of a grammar can be terminals.
//!
//! llguidance's lexer takes the longest match and never goes back. A terminal is therefore safe only where nothing that
//! may follow it could also make it longer: of `[0-9]+ "."` the digits are, of `ws "\n"` the blanks are not if they may
//! be line ends themselves. What is not safe stays a rule, whose terminals are single characters and strings.
//!
//! The sets of characters tell ASCII characters apart and no others, and where an expression can be read in more than
//! one way anything is assumed to make it longer. So a terminal may be taken for unsafe when it is not, which costs
//! time; never the other way round.

use super::parse::{Atom, Item, Rule};

/// A set of characters.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Set {
    ascii: u128,
    /// All others, as one.
    others: bool,
}

/// What is known of an expression.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Facts {
    /// Whether it can be empty.
    nullable: bool,
    /// What it can begin with.
    first: Set,
    /// What can make a whole sentence of it longer.
    longer: Set,
    /// Whether it has a sentence of more than one character.
    long: bool,
}

/// How a part of a sequence is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Part<'a> {
    /// As one terminal.
    Terminal(&'a [Item]),
    /// As what it is.
    Item(&'a Item),
}

/// What is known of all rules.
#[derive(Debug)]
pub(super) struct Lexing {
    facts: Vec<Facts>,
    /// What can come after a rule.
    follow: Vec<Set>,
    /// Whether it is written as a rule; the others are terminals.
    pub(super) is_rule: Vec<bool>,
}

impl Lexing {
    /// `recursive` says of each rule whether it cannot be a terminal in any case.
    pub(super) fn new(rules: &[Rule], recursive: Vec<bool>) -> Self {
        let mut lexing = Self {
            facts: vec![Facts::default(); rules.len()],
            follow: vec![Set::default(); rules.len()],
            is_rule: recursive,
        };
        while lexing.learn(rules) {}
        while lexing.decide(rules) {}
        lexing
    }

    /// How the parts of a sequence of rule `rule` are written.
    pub(super) fn parts<'a>(&self, rule: usize, items: &'a [Item]) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let is_regular = |item: &Item| match item.atom {
            Atom::Rule(named) => !self.is_rule[named],
            _ => true,
        };
        let mut rest = items;
        while let Some(item) = rest.first() {
            let run = rest.iter().take_while(|item| is_regular(item)).count();
            let (run, after) = rest.split_at(run);
            if !run.is_empty() && self.is_safe(run, self.after(rule, after)) {
                parts.push(Part::Terminal(run));
                rest = after;
                continue;
            }
            rest = &rest[1..];
            let alone = std::slice::from_ref(item);
            if is_regular(item) && self.is_safe(alone, self.after(rule, rest)) {
                parts.push(Part::Terminal(alone));
            } else {
                parts.push(Part::Item(item));
            }
        }
        parts
    }

    fn is_safe(&self, run: &[Item], follow: Set) -> bool {
        !self.sequence(run).longer.meets(follow)
    }

    /// What can come before the end of a sequence of rule `rule` that goes on with `items`, or after it.
    fn after(&self, rule: usize, items: &[Item]) -> Set {
        let facts = self.sequence(items);
        match facts.nullable {
            true => facts.first.with(self.follow[rule]),
            false => facts.first,
        }
    }

    /// Looks at all rules once. Whether anything new came of it.
    fn learn(&mut self, rules: &[Rule]) -> bool {
        let mut learned = false;
        for (index, rule) in rules.iter().enumerate() {
            let alternatives = rule.alternatives.iter().map(|items| self.sequence(items));
            let facts = alternatives.reduce(Facts::or).unwrap_or_default();
            learned |= facts != self.facts[index];
            self.facts[index] = facts;
        }
        learned
    }

    /// The same for what may follow, and for what has to be a rule because of it.
    fn decide(&mut self, rules: &[Rule]) -> bool {
        let mut decided = false;
        for (index, rule) in rules.iter().enumerate() {
            if !self.is_rule[index] {
                continue;
            }
            for items in &rule.alternatives {
                for (place, item) in items.iter().enumerate() {
                    let Atom::Rule(named) = item.atom else {
                        continue;
                    };
                    let mut follow = self.after(index, &items[place + 1..]);
                    if item.most != Some(1) {
                        follow = follow.with(self.facts[named].first);
                    }
                    let follow = self.follow[named].with(follow);
                    decided |= follow != self.follow[named];
                    self.follow[named] = follow;
                }
                for part in self.parts(index, items) {
                    if let Part::Item(Item {
                        atom: Atom::Rule(named),
                        ..
                    }) = part
                    {
                        decided |= !self.is_rule[*named];
                        self.is_rule[*named] = true;
                    }
                }
            }
        }
        decided
    }

    fn sequence(&self, items: &[Item]) -> Facts {
        let empty = Facts {
            nullable: true,
            ..Facts::default()
        };
        (items.iter()).fold(empty, |before, item| before.then(self.item(item)))
    }

    fn item(&self, item: &Item) -> Facts {
        let once = match &item.atom {
            Atom::Literal(text) => Facts {
                nullable: text.is_empty(),
                first: text.chars().next().map(Set::of).unwrap_or_default(),
                longer: Set::default(),
                long: text.chars().nth(1).is_some(),
            },
            Atom::Class { negated, ranges } => Facts {
                first: Set::of_class(*negated, ranges),
                ..Facts::default()
            },
            Atom::Any => Facts {
                first: Set::ALL,
                ..Facts::default()
            },
            Atom::Rule(rule) => self.facts[*rule],
        };
        match (item.least, item.most) {
            (1, Some(1)) => once,
            (least, most) => once.repeated(least, most),
        }
    }
}

impl Facts {
    fn or(self, other: Self) -> Self {
        let mut longer = match self.first.meets(other.first) {
            // One may be the beginning of the other, unless both are single characters.
            true if self.long || other.long => Set::ALL,
            _ => self.longer.with(other.longer),
        };
        if self.nullable || other.nullable {
            longer = longer.with(self.first).with(other.first);
        }
        Self {
            nullable: self.nullable || other.nullable,
            first: self.first.with(other.first),
            longer,
            long: self.long || other.long,
        }
    }

    fn then(self, next: Self) -> Self {
        // Where the first could have ended is not clear if the next begins with what makes it longer.
        let is_ambiguous = self.longer.meets(next.first);
        let mut longer = next.longer;
        if next.nullable {
            longer = longer.with(self.longer).with(next.first);
        }
        Self {
            nullable: self.nullable && next.nullable,
            first: match self.nullable {
                true => self.first.with(next.first),
                false => self.first,
            },
            longer: if is_ambiguous { Set::ALL } else { longer },
            // Two empty parts are no longer than one; where one may have characters, both might.
            long: self.long || next.long || self.has_characters() && next.has_characters(),
        }
    }

    fn repeated(self, least: u32, most: Option<u32>) -> Self {
        let mut longer = self.longer;
        if most != Some(1) {
            longer = match self.longer.meets(self.first) {
                true => Set::ALL,
                false => longer.with(self.first),
            };
            // An exact number of parts that cannot be longer themselves cannot be either.
            if most == Some(least) && self.longer == Set::default() && !self.nullable {
                longer = Set::default();
            }
        }
        let nullable = self.nullable || least == 0;
        if nullable {
            longer = longer.with(self.first);
        }
        Self {
            nullable,
            first: self.first,
            longer,
            long: self.long || most != Some(1),
        }
    }

    fn has_characters(self) -> bool {
        self.first != Set::default()
    }
}

impl Set {
    const ALL: Self = Self {
        ascii: u128::MAX,
        others: true,
    };

    fn of(character: char) -> Self {
        Self::of_class(false, &[(character, character)])
    }

    fn of_class(negated: bool, ranges: &[(char, char)]) -> Self {
        let mut set = Self::default();
        for &(first, last) in ranges {
            for code in u32::from(first)..=u32::from(last).min(127) {
                set.ascii |= 1 << code;
            }
            set.others |= !last.is_ascii();
        }
        match negated {
            // Which of the others it leaves out is not known.
            true => Self {
                ascii: !set.ascii,
                others: true,
            },
            false => set,
        }
    }

    fn with(self, other: Self) -> Self {
        Self {
            ascii: self.ascii | other.ascii,
            others: self.others || other.others,
        }
    }

    fn meets(self, other: Self) -> bool {
        self.ascii & other.ascii != 0 || self.others && other.others
    }
}
