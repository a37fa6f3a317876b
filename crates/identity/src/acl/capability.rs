//! The closed list of what can be allowed on a path.

use crate::Operation;

/// One thing that can be allowed, or the word that forbids everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum Capability {
    /// Write where nothing is yet.
    Create = 1,
    /// Remove.
    Delete = 1 << 1,
    /// Nothing at all, whatever else is said about this pattern.
    Deny = 1 << 2,
    /// See names.
    List = 1 << 3,
    /// Change a part.
    Patch = 1 << 4,
    /// See.
    Read = 1 << 5,
    /// Use paths that are reserved for the operators of the installation.
    Sudo = 1 << 6,
    /// Write where something is.
    Update = 1 << 7,
}

impl Capability {
    /// All, in alphabetical order: the order in which they are listed.
    pub const ALL: [Self; 8] =
        [Self::Create, Self::Delete, Self::Deny, Self::List, Self::Patch, Self::Read, Self::Sudo, Self::Update];

    /// Its word in a policy.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Deny => "deny",
            Self::List => "list",
            Self::Patch => "patch",
            Self::Read => "read",
            Self::Sudo => "sudo",
            Self::Update => "update",
        }
    }

    /// The capability a word means.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == word)
    }

    /// What an operation needs.
    pub const fn needed_for(operation: Operation) -> Self {
        match operation {
            Operation::Create => Self::Create,
            Operation::Read => Self::Read,
            Operation::Update => Self::Update,
            Operation::Patch => Self::Patch,
            Operation::Delete => Self::Delete,
            Operation::List => Self::List,
        }
    }
}

/// A set of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities(u16);

impl Capabilities {
    /// None.
    pub const NONE: Self = Self(0);

    /// Adds one; `deny` takes all others away and stays.
    pub fn add(&mut self, capability: Capability) {
        if capability == Capability::Deny {
            self.0 = Capability::Deny as u16;
        } else if !self.has(Capability::Deny) {
            self.0 |= capability as u16;
        }
    }

    /// Both sets' capabilities, where a `deny` on either side wins.
    #[must_use]
    pub fn merged(mut self, other: Self) -> Self {
        for capability in Capability::ALL {
            if other.has(capability) {
                self.add(capability);
            }
        }
        self
    }

    /// One bit for each, for keeping.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Those of `kept` bits; bits that mean nothing are left out.
    pub fn from_bits(kept: u32) -> Self {
        Capability::ALL.into_iter().filter(|c| kept & *c as u32 != 0).collect()
    }

    /// Those that are in it and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether this one is in it.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability as u16 != 0
    }

    /// Their words in alphabetical order; `deny` alone when there is none.
    pub fn words(self) -> Vec<&'static str> {
        let words: Vec<_> = Capability::ALL.into_iter().filter(|c| self.has(*c)).map(Capability::as_str).collect();
        if words.is_empty() { vec![Capability::Deny.as_str()] } else { words }
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(all: I) -> Self {
        let mut set = Self::NONE;
        all.into_iter().for_each(|c| set.add(c));
        set
    }
}
