//! Money: whole billionths of a US dollar, so that a day of small amounts adds up to what the bill says.

use std::{fmt, iter::Sum, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

/// Billionths in a dollar.
const NANO: u64 = 1_000_000_000;
/// Digits after the point that an amount may have.
const DIGITS: usize = 9;

/// An amount of US dollars, in billionths of one; at most about 18.4 thousand million dollars. Never a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoUsd(pub u64);

/// Why a text is no amount of money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no amount of money; write dollars, such as \"5.00 USD\"")]
pub struct MoneyError(pub String);

impl NanoUsd {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// The sum, unless it is more than can be held.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// What is left, unless `other` is more.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }

    /// So many times the amount, unless it is more than can be held.
    #[must_use]
    pub const fn checked_mul(self, times: u64) -> Option<Self> {
        match self.0.checked_mul(times) {
            Some(product) => Some(Self(product)),
            None => None,
        }
    }

    /// The sum; stops at the largest amount, which no budget reaches.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left; nothing, if `other` is more.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// What `count` of something cost of which `per` cost this amount, rounded up to the next billionth; the largest
    /// amount, if it is more than can be held or `per` is 0.
    #[must_use]
    pub fn for_part(self, count: u64, per: u64) -> Self {
        let whole = u128::from(self.0) * u128::from(count);
        let cost = if per == 0 { u128::MAX } else { whole.div_ceil(u128::from(per)) };
        Self(u64::try_from(cost).unwrap_or(u64::MAX))
    }
}

/// Stops at the largest amount, as [`NanoUsd::saturating_add`] does.
impl Sum for NanoUsd {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// Exact: two digits after the point at least, and as many as there are.
impl fmt::Display for NanoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:09}", self.0 % NANO);
        let shown = digits.trim_end_matches('0').len().max(2);
        f.pad(&format!("{}.{} USD", self.0 / NANO, &digits[..shown]))
    }
}

impl FromStr for NanoUsd {
    type Err = MoneyError;

    /// Reads `5.00 USD`, `0.002 USD`, `7 USD`: nine digits after the point at most, no sign, and the currency always.
    fn from_str(text: &str) -> Result<Self, MoneyError> {
        let refuse = || MoneyError(text.to_owned());
        let number = text.trim().strip_suffix("USD").ok_or_else(refuse)?.trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) || part.len() > DIGITS {
            return Err(refuse());
        }
        let whole: u64 = whole.parse().map_err(|_| refuse())?;
        let part: u64 = format!("{part:0<9}").parse().map_err(|_| refuse())?;
        let amount = whole.checked_mul(NANO).and_then(|whole| whole.checked_add(part));
        amount.map(Self).ok_or_else(refuse)
    }
}

/// Reads an amount as a person writes it, `2.50 USD`; for serde's `deserialize_with`.
///
/// # Errors
/// It is no amount.
pub fn said<'de, D: Deserializer<'de>>(from: D) -> Result<NanoUsd, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// The same of one that may be left out.
pub(crate) fn perhaps_said<'de, D: Deserializer<'de>>(from: D) -> Result<Option<NanoUsd>, D::Error> {
    said(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_and_shown_exactly() {
        for (text, nano, shown) in [
            ("5.00 USD", 5_000_000_000, "5.00 USD"),
            ("0.000000001 USD", 1, "0.000000001 USD"),
            ("8.4USD", 8_400_000_000, "8.40 USD"),
            (" 7 USD ", 7_000_000_000, "7.00 USD"),
            ("0 USD", 0, "0.00 USD"),
            ("18446744073.709551615 USD", u64::MAX, "18446744073.709551615 USD"),
        ] {
            assert_eq!(text.parse(), Ok(NanoUsd(nano)), "{text}");
            assert_eq!(NanoUsd(nano).to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_exact_amount_is_refused() {
        for bad in
            ["", "5", "5.00", "5.00 EUR", "-1 USD", "+1 USD", ".5 USD", "5. USD", "1e3 USD", "0.0000000001 USD", "USD"]
        {
            assert!(bad.parse::<NanoUsd>().is_err(), "{bad}");
        }
        assert!("18446744073.709551616 USD".parse::<NanoUsd>().is_err(), "more than can be held");
    }

    #[test]
    fn arithmetic_says_when_it_cannot() {
        assert_eq!(NanoUsd(u64::MAX).checked_add(NanoUsd(1)), None);
        assert_eq!(NanoUsd(1).checked_sub(NanoUsd(2)), None);
        assert_eq!([NanoUsd(u64::MAX), NanoUsd(1)].into_iter().sum::<NanoUsd>(), NanoUsd(u64::MAX));
        assert_eq!(NanoUsd(u64::MAX).checked_mul(2), None);
        assert_eq!(NanoUsd(8_400_000_000).for_part(1, 1_000_000_000), NanoUsd(9), "8.4 is rounded up");
        assert_eq!(NanoUsd(u64::MAX).for_part(u64::MAX, 1), NanoUsd(u64::MAX));
    }
}
