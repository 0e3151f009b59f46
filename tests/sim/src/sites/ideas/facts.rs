//! What the members write: every fact about an idea, from its number and the site's seed alone.

/// Ideas on the site, numbered from 1.
pub const IDEAS: u32 = 120;
/// Ideas on one page of the listing, the newest first.
pub const PER_PAGE: u32 = 20;
/// Sentences of one thesis: 200 to 400 words.
const SENTENCES_PER_IDEA: usize = 15;

/// What an idea's page says, for a test to hold an extraction against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdeaFacts {
    /// `h1.title`.
    pub title: String,
    /// `span.company`.
    pub company: String,
    /// `span.ticker`.
    pub ticker: String,
    /// `span.author`.
    pub author: String,
    /// `time.posted`, as `2024-03-09`.
    pub posted: String,
    /// `p` of `div.text`: three paragraphs, 200 to 400 words in all.
    pub paragraphs: [String; 3],
    /// `li` of `ul.catalysts`: two to four.
    pub catalysts: Vec<String>,
}

impl IdeaFacts {
    /// Words of the paragraphs.
    pub fn words(&self) -> usize {
        self.paragraphs.iter().map(|text| text.split_whitespace().count()).sum()
    }
}

/// A sequence of numbers, the same for the same beginning (splitmix64).
pub(super) struct Sequence(u64);

impl Sequence {
    pub(super) fn of(seed: u64, number: u64) -> Self {
        Self(seed.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ number.wrapping_mul(0xc4ce_b9fe_1a85_ec53))
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of_list(&mut self, list: &[&'static str]) -> &'static str {
        list[self.below(list.len())]
    }
}

/// The facts of an idea; `number` from 1 to [`IDEAS`]. Another seed, other companies and words.
pub fn facts(seed: u64, number: u32) -> IdeaFacts {
    let mut chance = Sequence::of(seed, number.into());
    let first = chance.of_list(&FIRST_NAMES);
    let business = chance.of_list(&BUSINESSES);
    let company = format!("{first} {business} {}", chance.of_list(&["plc", "AG", "SA", "Corp", "Holdings"]));
    let initials: String = company.chars().filter(char::is_ascii_uppercase).take(3).collect();
    let ticker = format!("{initials}{number}");
    let angle = chance.of_list(&ANGLES);
    let author = format!("{}{}", chance.of_list(&AUTHORS), 10 + chance.below(90));
    let posted = format!("20{:02}-{:02}-{:02}", 14 + number / 12, 1 + number % 12, 1 + chance.below(28));
    let mut order: Vec<usize> = (0..SENTENCES.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, chance.below(at + 1));
    }
    let sentences: Vec<String> =
        order.iter().take(SENTENCES_PER_IDEA).map(|at| fill(SENTENCES[*at], &company, &mut chance)).collect();
    let paragraph = |part: usize| sentences[part * 5..part * 5 + 5].join(" ");
    let mut kinds: Vec<&str> = CATALYSTS.to_vec();
    let count = 2 + chance.below(3);
    let catalysts = (0..count)
        .map(|_| {
            let at = chance.below(kinds.len());
            fill(kinds.swap_remove(at), &company, &mut chance)
        })
        .collect();
    IdeaFacts {
        title: format!("{first}: {angle}"),
        paragraphs: [paragraph(0), paragraph(1), paragraph(2)],
        company,
        ticker,
        author,
        posted,
        catalysts,
    }
}

/// Puts the company and numbers of its own into a sentence.
fn fill(sentence: &str, company: &str, chance: &mut Sequence) -> String {
    let mut text = sentence.replace("{c}", company);
    while let Some(at) = text.find('#') {
        text.replace_range(at..=at, &(3 + chance.below(95)).to_string());
    }
    text
}

const FIRST_NAMES: [&str; 24] = [
    "Arlen", "Bexham", "Calder", "Dorring", "Elswick", "Fenmore", "Garvald", "Hexley", "Ilford", "Jarrow", "Kelso",
    "Lindal", "Marden", "Norwell", "Ostler", "Penrith", "Quorn", "Redmire", "Selby", "Tarland", "Ulver", "Varden",
    "Wexcombe", "Yarrow",
];
const BUSINESSES: [&str; 16] = [
    "Bearings",
    "Shipping",
    "Software",
    "Insurance",
    "Foods",
    "Cement",
    "Optics",
    "Railways",
    "Pharma",
    "Paper",
    "Mining",
    "Retail",
    "Valves",
    "Timber",
    "Payments",
    "Ceramics",
];
const ANGLES: [&str; 12] = [
    "cheap for a reason that ends soon",
    "a spin-off that nobody follows",
    "net cash and a new board",
    "the second act",
    "priced for ruin, run for profit",
    "a toll road in disguise",
    "hidden land at cost",
    "buybacks at half of book",
    "the cycle has turned",
    "a short: growth that was bought",
    "one segment worth the whole",
    "a family that sells at last",
];
const AUTHORS: [&str; 10] =
    ["heron", "otter", "magpie", "badger", "linnet", "marten", "curlew", "plover", "stoat", "dipper"];
const SENTENCES: [&str; 36] = [
    "{c} trades at # times what it earned in a poor year, while its peers fetch twice that and grow no faster.",
    "The balance sheet holds # million in cash against # million of debt, none of which falls due before the plant is \
     paid for.",
    "Management owns # percent of the shares and has bought more in each of the last # quarters, at prices above \
     today's.",
    "Most of the revenue comes from spare parts, which customers order every # months whether or not they buy new \
     machines.",
    "A rival left the market two winters ago, and prices have risen by # percent since without a single customer lost.",
    "The old segment hides the new one: what loses money is to be closed by spring and cost # million last year.",
    "We spoke with # distributors, and all but one expect to order more of it in the year to come.",
    "Capital spending peaked with the new kiln; from here on maintenance takes # million a year and the rest is free.",
    "The pension deficit, which frightened many, shrank to # million after the last valuation and needs no more \
     payments.",
    "Reported margins of # percent understate the business, since start-up costs of the second site run through them.",
    "The contract with the ministry runs for another # years and rises with inflation, which no model that we saw \
     reflects.",
    "Land at the harbour stands in the books at # million, what was paid for it when the railway still ended there.",
    "Our case assumes growth of # percent, half of what the order book already shows, and arrives at a price well \
     above this one.",
    "Should the merger fall through, {c} keeps a fee of # million and a product that the buyer has spent years trying \
     to copy.",
    "The founder's children disagree about dividends, which is why # percent of the votes came to the market at once.",
    "Analysts stopped writing about it after the index dropped it; the last note that we found is # quarters old.",
    "Working capital rose with the move to the new warehouse and should release # million once both no longer run side \
     by side.",
    "Customers sign for # years and leave at a rate of a few in a hundred, and most of those come back.",
    "The chief executive ran a smaller rival before and returned # percent of its market value to owners in three \
     years.",
    "Freight took # percent of sales at its worst and is back to where it was, which alone explains the guidance.",
    "What the bears miss is that # percent of the claims were settled last autumn, at less than what had been set \
     aside.",
    "Replacement cost of the fleet is # million a ship, and {c} carries each of them at a third of it.",
    "In the last downturn volumes fell by # percent and the company still paid its dividend out of what it earned.",
    "A new plant in the south adds # percent to capacity, was built with grants, and is sold out before it opens.",
    "The licence that expires next year brings # million at most, less than the research budget that goes with it.",
    "Insiders at the supplier tell us that orders from {c} doubled, while the market frets over one lost tender worth \
     # million.",
    "Returns on capital have averaged # percent through two cycles, and there is room for a dozen more branches.",
    "Tax losses of # million shelter profits for years and appear nowhere in the valuation that the market gives it.",
    "The minority stake in its joint venture could be sold for # million, by the price that its partner paid in May.",
    "Price increases of # percent took hold in March and will show in full only with the next annual report.",
    "Of its # largest customers none makes up more than a tenth of sales, and the oldest has been there since the war.",
    "Short sellers hold # percent of the float on the belief that the auditors resigned; in truth their term was over.",
    "The board promised to pay out half of what it earns, which at this price is a yield of # percent and rising.",
    "A simplification of the two share classes would add # percent to the value of the cheaper one, which we own.",
    "We expect # million of free cash within two years, against a market value that is hardly more than that.",
    "The risk is execution: the last software change cost a month of deliveries and # million in penalties.",
];
const CATALYSTS: [&str; 10] = [
    "Sale of the harbour land for # million",
    "Full-year results with margins above # percent",
    "A bid by one of # interested parties",
    "Index inclusion within # weeks",
    "End of the restructuring and # million of savings",
    "Buyback of # percent of the shares",
    "Ruling of the court on claims of # million",
    "Opening of the plant in the south, # months early",
    "Refinancing at rates # basis points lower",
    "Spin-off of the smaller segment, # for each hundred shares",
];
