//! How long a token lives: Vault's rules for ttl, period and the two maxima. Pure arithmetic in
//! whole seconds; the time is handed in.

/// What is known about a token's lifetime; 0 means "not said".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Asked for by the caller at a renewal.
    pub increment: i64,
    /// Said by the role or the request.
    pub ttl: i64,
    /// Renewed by this much for ever; stands above `ttl`.
    pub period: i64,
    /// Said by the role: no later than this after the issue, unless there is a period.
    pub max_ttl: i64,
    /// No later than this after the issue, whatever else is said.
    pub explicit_max_ttl: i64,
}

/// What the mount says; both greater than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// When nothing else is said.
    pub default_ttl: i64,
    /// No token lives longer after its issue, and no period is longer.
    pub max_ttl: i64,
}

/// What a token gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Seconds from now on; greater than 0.
    pub ttl: i64,
    /// What was asked for but not given.
    pub capped: Option<Capped>,
}

/// What the terms asked for but did not get, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capped {
    /// The period was longer than the maximum.
    Period {
        /// What was asked for.
        asked: i64,
        /// What there was.
        most: i64,
    },
    /// The lifetime was longer than what is left of the maximum.
    Ttl {
        /// What was asked for.
        asked: i64,
        /// What there was.
        most: i64,
    },
}

impl Capped {
    /// As a warning to the caller.
    pub fn warning(self) -> String {
        match self {
            Self::Period { asked, most } => format!(
                "period of {asked}s exceeded the effective max_ttl of {most}s; period value is capped accordingly"
            ),
            Self::Ttl { asked, most } => {
                format!("TTL of {asked}s exceeded the effective max_ttl of {most}s; TTL value is capped accordingly")
            }
        }
    }
}

/// The lifetime a token gets from `now` on; `None` when its longest life is over.
pub fn ttl(terms: Terms, bounds: Bounds, issued: i64, now: i64) -> Option<Given> {
    let mut most = bounds.max_ttl;
    for limit in [terms.max_ttl, terms.explicit_max_ttl] {
        if limit > 0 && limit < most {
            most = limit;
        }
    }
    let mut capped = None;
    let (asked, last_moment) = if terms.period > 0 {
        if terms.period > most {
            capped = Some(Capped::Period { asked: terms.period, most });
        }
        let end = if terms.explicit_max_ttl > 0 { issued.saturating_add(terms.explicit_max_ttl) } else { i64::MAX };
        (terms.period.min(most), end)
    } else {
        let said = [terms.increment, terms.ttl, bounds.default_ttl].into_iter().find(|t| *t > 0).unwrap_or(0);
        (said, issued.saturating_add(most))
    };
    let left = last_moment.saturating_sub(now);
    if left <= 0 || asked <= 0 {
        return None;
    }
    if asked > left {
        capped = Some(Capped::Ttl { asked, most: left });
    }
    Some(Given { ttl: asked.min(left), capped })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOUNT: Bounds = Bounds { default_ttl: 100, max_ttl: 1000 };

    fn at(terms: Terms, age: i64) -> Option<i64> {
        ttl(terms, MOUNT, 5000, 5000 + age).map(|given| given.ttl)
    }

    #[test]
    fn the_most_particular_word_wins_within_the_maxima() {
        let none = Terms::default();
        for (terms, age, expected) in [
            (none, 0, Some(100)),
            (Terms { ttl: 50, ..none }, 0, Some(50)),
            (Terms { ttl: 50, increment: 70, ..none }, 0, Some(70)),
            (Terms { ttl: 5000, ..none }, 0, Some(1000)),
            (Terms { ttl: 500, max_ttl: 300, ..none }, 0, Some(300)),
            (Terms { ttl: 500, explicit_max_ttl: 200, ..none }, 150, Some(50)),
            (Terms { ttl: 500, ..none }, 900, Some(100)),
            (Terms { ttl: 500, ..none }, 1000, None),
            (Terms { period: 60, ttl: 5, ..none }, 1_000_000, Some(60)),
            (Terms { period: 5000, ..none }, 0, Some(1000)),
            (Terms { period: 60, explicit_max_ttl: 100, ..none }, 70, Some(30)),
            (Terms { period: 60, explicit_max_ttl: 100, ..none }, 100, None),
        ] {
            assert_eq!(at(terms, age), expected, "{terms:?} at {age}");
        }
        let given = ttl(Terms { ttl: 5000, ..none }, MOUNT, 0, 0).unwrap();
        assert_eq!(given.capped, Some(Capped::Ttl { asked: 5000, most: 1000 }));
    }

    proptest! {
        #[test]
        fn no_renewal_goes_past_a_maximum(
            increment in 0i64..3000, ttl_ in 0i64..3000, period in 0i64..200, max in 0i64..2000, explicit in 0i64..2000,
            ages in proptest::collection::vec(0i64..3000, 1..8),
        ) {
            let terms = Terms { increment, ttl: ttl_, period, max_ttl: max, explicit_max_ttl: explicit };
            for age in ages {
                if let Some(Given { ttl: got, .. }) = ttl(terms, MOUNT, 0, age) {
                    prop_assert!(got > 0 && got <= MOUNT.max_ttl);
                    if explicit > 0 {
                        prop_assert!(age + got <= explicit);
                    }
                    if period == 0 {
                        prop_assert!(age + got <= MOUNT.max_ttl);
                        prop_assert!(max == 0 || age + got <= max);
                    }
                } else {
                    prop_assert!(period == 0 || explicit > 0);
                }
            }
        }
    }
}
