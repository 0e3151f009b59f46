//! `price`, `budget` and `time-zone`: what bytes cost, how much of a day may be spent, and when a day begins.

use serde_spanned::Spanned;

use super::Reader;
use crate::{
    budget::{Budget, GB, Limit, MoneyBudget, Price},
    calendar::Zone,
    money::NanoUsd,
    spec::{
        diagnostic::did_you_mean,
        raw::{RawAmount, RawBudget, RawMoneyBudget},
        values::parse_bytes,
    },
};

/// Names of zones that are offered for one that isn't known.
const ZONES_SHOWN: [&str; 6] =
    ["UTC", "Europe/Zurich", "Europe/London", "America/New_York", "America/Los_Angeles", "Asia/Tokyo"];
/// Most that a budget may be, in bytes: more is a slip.
const BYTES_MAX: u64 = 1_000_000 * GB;

impl Reader<'_> {
    /// `8.40 USD/GB`. A GB is 1,000,000,000 bytes, a GiB 1,073,741,824.
    pub(super) fn price(&mut self, value: &Spanned<RawAmount>) -> Option<Price> {
        let text = value.as_ref().text();
        let found = text.split_once('/').and_then(|(money, unit)| {
            let bytes = match unit.trim() {
                "GB" => GB,
                "GiB" => 1 << 30,
                "MB" => 1_000_000,
                "MiB" => 1 << 20,
                _ => return None,
            };
            Some(Price { money: money.parse().ok()?, bytes })
        });
        if found.is_none() {
            let help = "write dollars for a size, such as \"8.40 USD/GB\"; GB, GiB, MB and MiB are known".to_owned();
            self.say(value.span(), format!("price is {}", value.as_ref()), Some(help));
        }
        found
    }

    /// A proxy's budget: money needs a price, since what isn't known isn't nothing.
    pub(super) fn proxys_budget(&mut self, name: &str, raw: Option<&Spanned<RawBudget>>, has_price: bool) -> Budget {
        let budget = self.budget(raw);
        let has_money = budget.limits().any(|(_, limit)| matches!(limit, Limit::Money(_)));
        if let Some(raw) = raw.filter(|_| has_money && !has_price) {
            let help = "add price = \"8.40 USD/GB\" with what it costs, or write the budget in bytes".to_owned();
            self.say(
                raw.span(),
                format!("the budget of proxy {name} is money, and nobody said what it costs"),
                Some(help),
            );
        }
        budget
    }

    /// A site's budget: bytes alone, since what they cost depends on the proxy.
    pub(super) fn sites_budget(&mut self, raw: Option<&Spanned<RawBudget>>) -> Budget {
        let budget = self.budget(raw);
        let has_money = budget.limits().any(|(_, limit)| matches!(limit, Limit::Money(_)));
        if let Some(raw) = raw.filter(|_| has_money) {
            let help = "write bytes, such as { day = \"500 MB\" }; money is a proxy's".to_owned();
            self.say(raw.span(), "a site's budget can't be money", Some(help));
        }
        budget
    }

    fn budget(&mut self, raw: Option<&Spanned<RawBudget>>) -> Budget {
        let Some(raw) = raw else {
            return Budget::default();
        };
        let RawBudget { day, month } = raw.as_ref();
        if day.is_none() && month.is_none() {
            let help = "write { day = \"2 GB\" }, { month = \"40 GB\" } or both".to_owned();
            self.say(raw.span(), "a budget without a day and a month says nothing", Some(help));
        }
        let mut limit =
            |key, value: &Option<Spanned<RawAmount>>| value.as_ref().and_then(|value| self.limit(key, value));
        Budget { day: limit("day", day), month: limit("month", month) }
    }

    /// A budget of what is paid in money alone.
    pub(super) fn money_budget(&mut self, raw: Option<&Spanned<RawMoneyBudget>>) -> MoneyBudget {
        let Some(raw) = raw else {
            return MoneyBudget::default();
        };
        let RawMoneyBudget { day, month } = raw.as_ref();
        if day.is_none() && month.is_none() {
            let help = "write { day = \"5.00 USD\" }, { month = \"100.00 USD\" } or both".to_owned();
            self.say(raw.span(), "a budget without a day and a month says nothing", Some(help));
        }
        let help = "write dollars, such as \"5.00 USD\"; \"0 USD\" spends nothing, and bytes are a proxy's or a site's";
        let mut limit = |key, value: &Option<Spanned<RawAmount>>| self.dollars(key, value.as_ref()?, help);
        MoneyBudget { day: limit("day", day), month: limit("month", month) }
    }

    /// An amount of money; absent after saying what is possible.
    pub(super) fn dollars(&mut self, key: &str, value: &Spanned<RawAmount>, help: &str) -> Option<NanoUsd> {
        let found = value.as_ref().text().parse().ok();
        if found.is_none() {
            self.say(value.span(), format!("{key} is {}", value.as_ref()), Some(help.to_owned()));
        }
        found
    }

    fn limit(&mut self, key: &str, value: &Spanned<RawAmount>) -> Option<Limit> {
        let text = value.as_ref().text();
        let money = || text.parse::<NanoUsd>().ok().map(Limit::Money);
        let bytes = || parse_bytes(&text).ok().filter(|bytes| *bytes <= BYTES_MAX).map(Limit::Bytes);
        let found = money().or_else(bytes);
        if found.is_none() {
            let help = "write a size, such as \"2 GB\", or dollars, such as \"5.00 USD\"; 0 spends nothing".to_owned();
            self.say(value.span(), format!("{key} is {}", value.as_ref()), Some(help));
        }
        found
    }

    pub(super) fn zone(&mut self, name: Option<&Spanned<String>>) -> Zone {
        let Some(name) = name else {
            return Zone::default();
        };
        match Zone::named(name.as_ref()) {
            Ok(zone) => zone,
            Err(message) => {
                let all = Zone::names();
                let by_distance = |zone: &&String| strsim::damerau_levenshtein(zone, name.as_ref());
                let nearest = all.iter().min_by_key(by_distance).map(String::as_str);
                let known: Vec<&str> = nearest.into_iter().chain(ZONES_SHOWN).collect();
                let help = did_you_mean(name.as_ref(), &known, "names are such as");
                self.say(name.span(), format!("time-zone: {message}"), Some(help));
                Zone::default()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Deployment, parse};

    fn read(lines: &str) -> Result<Deployment, String> {
        parse(lines, "jobs.toml").map_err(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    fn proxy(lines: &str) -> Result<Deployment, String> {
        read(&format!("[proxy.main]\nurl = \"http://a\"\n{lines}\n"))
    }

    #[test]
    fn every_form_of_a_price_and_a_budget_is_read() {
        let of = |lines: &str| {
            let spec = proxy(lines).unwrap().proxies.remove(0);
            (spec.price, spec.budget)
        };
        let dollars = |dollars: u64| NanoUsd(dollars * 1_000_000_000);
        let price = Some(Price { money: NanoUsd(8_400_000_000), bytes: GB });
        assert_eq!(of("price = \"8.40 USD/GB\""), (price, Budget::default()));
        assert_eq!(of("price = \"2 USD / GiB\"").0, Some(Price { money: dollars(2), bytes: 1 << 30 }));
        let both = Budget { day: Some(Limit::Money(dollars(5))), month: Some(Limit::Bytes(40 * GB)) };
        assert_eq!(of("price = \"8.40 USD/GB\"\nbudget = { day = \"5.00 USD\", month = \"40 GB\" }"), (price, both));
        let nothing = Budget { day: Some(Limit::Bytes(0)), month: None };
        assert_eq!(of("budget = { day = 0 }").1, nothing, "0 is a budget");
        let free = "price = \"0 USD/GB\"\nbudget = { day = \"0 USD\" }";
        assert_eq!(of(free).1.day, Some(Limit::Money(NanoUsd::ZERO)));
        let sites = read("[site.\"*\"]\nbudget = { day = \"500 MB\" }\n[site.\"a.example\"]\n").unwrap().sites;
        assert!(sites.iter().all(|site| site.budget.day == Some(Limit::Bytes(500_000_000))), "that of * is handed on");
    }

    #[test]
    fn trap04_what_a_price_or_a_budget_cannot_be_is_said_with_what_to_do() {
        for (lines, wanted) in [
            (
                "budget = { day = \"5.00 USD\" }",
                "3:10: the budget of proxy main is money, and nobody said what it costs\n  add price",
            ),
            ("price = \"8.40/GB\"", "price is \"8.40/GB\"\n  write dollars for a size"),
            ("price = \"8.40 USD/TB\"", "price is"),
            ("price = 8.4", "price is 8.4"),
            ("budget = { day = \"5 EUR\" }", "day is \"5 EUR\"\n  write a size"),
            ("budget = { day = \"-1 GB\" }", "day is"),
            ("budget = { day = \"9000000 GB\" }", "day is"),
            ("budget = {}", "says nothing\n  write { day"),
            ("budget = { dayy = \"1 GB\" }", "did you mean `day`?"),
            ("budget = \"2 GB\"", "a budget, such as { day = \"2 GB\" }"),
            ("[site.\"*\"]\nbudget = { day = \"5 USD\" }", "a site's budget can't be money\n  write bytes"),
        ] {
            let said = proxy(lines).unwrap_err();
            assert!(said.contains(wanted), "{lines}: {said}");
        }
    }

    #[test]
    fn a_time_zone_is_known_or_another_is_offered() {
        let zone = |name: &str| read(&format!("[host]\ntime-zone = \"{name}\"\n"));
        assert_eq!(zone("Europe/Zurich").unwrap().host.zone, Zone::named("Europe/Zurich").unwrap());
        let said = zone("Europe/Zurch").unwrap_err();
        assert!(
            said.contains("time-zone: \"Europe/Zurch\"") && said.contains("did you mean `Europe/Zurich`"),
            "{said}"
        );
    }
}
